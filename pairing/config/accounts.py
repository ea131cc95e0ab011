"""`github:NAME` in a config: fetch that account's public ssh keys, and put them in its place.

The operator's command does this at release; a node never fetches keys. GitHub publishes them as
text at https://github.com/NAME.keys.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from pairing import errors
from pairing.config.document import Document, Node, rebuild
from pairing.config.problem import Path
from pairing.config.sshkeys import flaw, is_key_entry, key_lines

if TYPE_CHECKING:
    import ssl

GITHUB = "https://github.com"
FETCH_SECONDS = 10.0
FETCH_BYTES = 64 * 1024
MAX_KEYS = 64

_ACCOUNT = re.compile(r"github:([A-Za-z0-9](?:[A-Za-z0-9-]{0,38}))")


def account(line: str) -> str:
    """The NAME of `github:NAME`, empty for anything else."""
    found = _ACCOUNT.fullmatch(line.strip())
    return found[1] if found else ""


def accounts(document: Document) -> tuple[str, ...]:
    """The GitHub accounts that `document` names, each once, in the order of the file."""
    lines = (node.content for _, node in key_lines(document))
    names = (account(line) for line in lines if isinstance(line, str))
    return tuple(dict.fromkeys(name for name in names if name))


def with_account_keys(document: Document, keys: Mapping[str, tuple[str, ...]]) -> Document:
    """`document` with every `github:NAME` replaced by `keys[NAME]`, at the same place."""

    def change(path: Path, node: Node) -> Node | None:
        if not isinstance(node.content, tuple) or not is_key_entry((*path, 0)):
            return None
        lines: list[Node] = []
        for item in node.content:
            name = account(item.content) if isinstance(item.content, str) else ""
            lines += [Node(key, item.mark) for key in keys[name]] if name else [item]
        return Node(_once(lines), node.mark)

    return Document(rebuild(document.root, change))


def _once(lines: list[Node]) -> tuple[Node, ...]:
    """Each line once, where it stood first."""
    kept: dict[object, Node] = {}
    for line in lines:
        kept.setdefault(line.content, line)
    return tuple(kept.values())


def parse_account_keys(body: bytes, name: str) -> tuple[str, ...]:
    """The keys in what `https://github.com/NAME.keys` answered.

    Raises errors.AccountKeysUnavailable for an empty, oversized or malformed answer.
    """
    if len(body) > FETCH_BYTES:
        raise errors.AccountKeysUnavailable("The answer is too long.", element=name)
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise errors.AccountKeysUnavailable("The answer is not text.", element=name) from None
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise errors.AccountKeysUnavailable("It has no public keys.", element=name)
    if len(lines) > MAX_KEYS:
        raise errors.AccountKeysUnavailable("It has too many keys.", element=name)
    if any(flaw(line) for line in lines):
        raise errors.AccountKeysUnavailable("The answer is not a list of ssh keys.", element=name)
    return lines


class Answer(Protocol):
    """What an opener returns; an HTTP response has this."""

    def read(self, size: int, /) -> bytes: ...


Opener = Callable[[str, float], AbstractContextManager[Answer]]
"""Opens an https URL; each of its waits takes at most so many seconds."""


def https_opener(trust: ssl.SSLContext | None = None) -> Opener:
    """The usual opener: the system's proxy settings, no redirect at all, and its certificates.

    `trust` replaces the list of trusted certificates.
    """
    # Imported here: 60 ms that a command which fetches nothing need not pay.
    import ssl
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """A redirect could lead to another host: it stays an error."""

        def redirect_request(self, *_: object) -> None:
            return None

    handler = urllib.request.HTTPSHandler(context=trust or ssl.create_default_context())
    director = urllib.request.build_opener(handler, NoRedirect())

    def opener(url: str, seconds: float) -> AbstractContextManager[Answer]:
        answer: AbstractContextManager[Answer] = director.open(url, timeout=seconds)
        return answer

    return opener


def fetch_account_keys(
    name: str,
    *,
    base: str = GITHUB,
    seconds: float = FETCH_SECONDS,
    opener: Opener | None = None,
) -> tuple[str, ...]:
    """The public ssh keys of the GitHub account `name`, fetched over https.

    Blocks for at most `seconds`, name resolution included.
    Raises errors.AccountKeysUnavailable.
    """
    if not base.startswith("https://"):
        raise errors.AccountKeysUnavailable("Only https is allowed.", element=name)

    def get() -> bytes:
        with (opener or https_opener())(f"{base}/{name}.keys", seconds) as answer:
            return answer.read(FETCH_BYTES + 1)

    return parse_account_keys(_within(seconds, get, name), name)


def _within(seconds: float, get: Callable[[], bytes], name: str) -> bytes:
    """What `get` returns. A thread, because neither DNS nor a dripping server can be bounded."""
    answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(get())
        except Exception as why:  # handed over, not dropped
            answers.put(why)

    threading.Thread(target=work, daemon=True, name="account-keys").start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        detail = f"No answer within {seconds:g} seconds."
        raise errors.AccountKeysUnavailable(detail, element=name) from None
    if isinstance(answer, Exception):
        raise errors.AccountKeysUnavailable(_reason(answer), element=name) from None
    return answer


def _reason(why: Exception) -> str:
    status = getattr(why, "code", None)  # of urllib's HTTPError
    if status is not None:
        return "There is no such account." if status == 404 else f"HTTP status {status}."
    cause = getattr(why, "reason", why)
    return f"({type(cause).__name__})"
