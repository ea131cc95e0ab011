"""Base45 (RFC 9285): bytes in the 45 characters that a QR code packs densest."""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_VALUE = {character: value for value, character in enumerate(ALPHABET)}


def encode(data: bytes) -> str:
    """Three characters for two bytes, two for a last single one."""
    out: list[str] = []
    for start in range(0, len(data), 2):
        pair = data[start : start + 2]
        number, digits = int.from_bytes(pair, "big"), len(pair) + 1
        for _ in range(digits):
            number, value = divmod(number, 45)
            out.append(ALPHABET[value])
    return "".join(out)


def decode(text: str) -> bytes:
    """The bytes of `text`. Raises ValueError for a foreign character, length or overflow."""
    if len(text) % 3 == 1:
        raise ValueError("wrong length")
    out = bytearray()
    for start in range(0, len(text), 3):
        group = text[start : start + 3]
        try:
            number = sum(_VALUE[character] * 45**place for place, character in enumerate(group))
        except KeyError as foreign:
            raise ValueError(f"character {foreign} is not in base45") from None
        size = len(group) - 1
        if number >= 256**size:
            raise ValueError("group out of range")
        out += number.to_bytes(size, "big")
    return bytes(out)
