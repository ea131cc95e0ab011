"""Secrets in a config that would lie open: passwords, private keys, tokens, each with its place.

For a config that leaves by a way on which somebody else may read it (Kairos' own protocol).
`redact` hides whatever may be a secret; here only what surely is one counts, so that a config
without any can be sent, and a person who is asked still reads the question.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator

from pairing.config.document import Document, Node, walk
from pairing.config.problem import Path, Problem

_NAME = re.compile(
    r"pass(wd|word|phrase|code)|secret|token|private_?key|credential|api_?key|access_?key|psk$|"
    r"(^|_)(pin|pw|pwd)$|bearer|datastore|dsn|external_db",
    re.IGNORECASE,
)
_PUBLIC = re.compile(
    r"lock_passwd|(^|[-_])(file|path|dir)$|secrets.encryption|token.(ttl|name)", re.IGNORECASE
)
_LOCKED = re.compile(r"[!*]{1,2}")
_WORD = r"[\w-]*(token|password|passwd|passphrase|secret)"
_LINE = rf"^[ \t]*[\"']?{_WORD}[\"']?[ \t]*[:=][ \t]*[\"']?[^\s$<{{|>&*\"'-]\S{{3,}}[ \t]*$"
_TEXTS = (
    (re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY"), "A private key."),
    (re.compile(r"AGE-SECRET-KEY-1"), "A private key."),
    (re.compile(r"\$(1|2[abxy]|5|6|7|y|gy)\$[./0-9A-Za-z=,$]{20,}"), "A password's hash."),
    (re.compile(r"\bK10[0-9a-f]{64}::"), "A token of a cluster."),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}"), "An access key."),
    (re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\."), "A signed web token."),
    (re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.I),
     "A password in a URL."),
    (re.compile(rf"[?&]({_WORD}|sig|signature|key)=[^&\s]{{6,}}", re.I), "A key in a URL."),
    (re.compile(r"\bchpasswd\b"), "A password that is set by a command."),
    # As option, as variable, as a line of a file; not where only a variable or a file is named.
    (re.compile(rf"(?<![\w-])--?{_WORD}[=\s]\s*[^\s$<-]\S{{3,}}", re.I), "A token or password."),
    (re.compile(rf"(?<![\w-]){_WORD}=[\"']?[^\s$<\"'-]\S{{3,}}", re.I), "A token or password."),
    (re.compile(_LINE, re.I | re.M), "A token or password."),
)  # fmt: skip
_OPTION = re.compile(r"--?([A-Za-z][\w-]*)(?:[=\s]\s*(.*))?", re.DOTALL)
_TALK = frozenset({"name", "gecos"})
"""Texts for people."""
_NETWORK_TOKEN = re.compile(r"[A-Za-z0-9+/]{200,4000}={0,2}")
UNPACKED = 1024 * 1024
"""Bytes of a packed file that are looked at."""


def exposed(document: Document) -> list[Problem]:
    """Every secret in `document`, in the order of the file; never with its value."""
    found = dict(_all(document))
    marks = [(document.position(path), path, what) for path, what in found.items()]
    marks.sort(key=lambda one: (one[0].file, one[0].line, one[0].column))
    return [Problem(path=path, mark=mark, message=what) for mark, path, what in marks]


def _all(document: Document) -> Iterator[tuple[Path, str]]:
    for path, node in walk(document.root):
        if not path:
            continue
        if isinstance(node.content, tuple) and path[-1] == "args":
            yield from _arguments(path, node.content)
        if what := _by_name(path, node) or _by_text(path, node):
            yield path, what


def _by_name(path: Path, node: Node) -> str:
    """A scalar below a key whose name says that it is one."""
    content = node.content
    names = [str(key) for key in path if isinstance(key, str)]
    name = names[-1].replace("-", "_")
    scalar = isinstance(content, str | int | float) and not isinstance(content, bool)
    if not scalar or content == "" or not _NAME.search(name) or _PUBLIC.search(names[-1]):
        return ""
    if isinstance(content, str) and _LOCKED.fullmatch(content):
        return ""
    return "A password." if name.startswith(("pass", "pw")) else "A token or password."


def _by_text(path: Path, node: Node) -> str:
    text = node.content
    if not isinstance(text, str) or path[-1] in _TALK:
        return ""
    for looked_at in (text, *_unpacked(path, text)):
        for pattern, what in _TEXTS:
            if pattern.search(looked_at):
                return what
    return _network_token(text)


def _network_token(text: str) -> str:
    for word in _NETWORK_TOKEN.findall(text):
        padded = word + "=" * (-len(word) % 4)
        try:
            inside = base64.b64decode(padded)
        except (binascii.Error, ValueError):
            continue
        if b"otp" in inside and b"crypto" in inside and b"room" in inside:
            return "A network token."
    return ""


def _arguments(path: Path, items: tuple[Node, ...]) -> Iterator[tuple[Path, str]]:
    """`--token X`, `--token=X`, and `--token` followed by its value; k3s' `-t` is the same."""
    expected, short = False, {"t"} if path[0] in ("k3s", "k3s-agent") else set()
    for number, item in enumerate(items):
        text = item.content if isinstance(item.content, str) else ""
        option = _OPTION.fullmatch(text.strip())
        if option is None:
            if expected and text:
                yield (*path, number), "A token or password."
            expected = False
            continue
        named = option[1].replace("-", "_")
        secret = bool(_NAME.search(named)) and not _PUBLIC.search(option[1])
        secret = secret or option[1] in short
        if secret and option[2]:
            yield (*path, number), "A token or password."
        expected = secret and not option[2]


def _unpacked(path: Path, text: str) -> Iterator[str]:
    """A file's content that is written in base64, packed or not."""
    if path[-1] != "content" or not re.fullmatch(r"[A-Za-z0-9+/=\s]{8,}", text):
        return
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return
    if data[:2] == b"\x1f\x8b":
        try:
            data = zlib.decompressobj(wbits=31).decompress(data, UNPACKED)
        except zlib.error:
            return
    yield data.decode("utf-8", "replace")
