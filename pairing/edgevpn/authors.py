"""Who was the first to say a sealed message: whoever says it again need not have the token."""

from __future__ import annotations

from pairing.edgevpn import sealing

REMEMBERED = 2**16
"""Messages whose author is remembered: more than an end says, however often it is made to, while a
code is shown. One that is forgotten can be said again by somebody without the token."""


class Authors:
    """Remembers the first author of each message, by its nonce."""

    def __init__(self) -> None:
        self._first: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._first)

    def first(self, nonce: bytes, sender: str) -> str:
        """Who was the first to say the message with this nonce: `sender`, if it is new."""
        author = self._first.setdefault(nonce, sender)
        if len(self._first) > REMEMBERED:
            del self._first[next(iter(self._first))]
        return author

    def is_own(self, data: bytes, sender: str) -> bool:
        """Whether a message that could be unsealed is `sender`'s own word."""
        return self.first(sealing.nonce_of(data), sender) == sender
