"""Passwords in a config: plain ones are hashed by the operator's command before they leave.

Format: crypt(5). Hash: SHA-512 crypt (`$6$`), which every Linux distribution's login knows.
"""

from __future__ import annotations

import re

from pairing.config.document import Document, Node, rebuild, walk
from pairing.config.problem import Path, Problem, Severity

ROUNDS = 100_000
"""About 0.1 s of CPU for each guess; the customary 5,000 are from 2007."""

_HASHES = (
    re.compile(r"\$6\$(rounds=[0-9]{1,9}\$)?[^$\s:]{1,16}\$[./0-9A-Za-z]{86}"),
    re.compile(r"\$5\$(rounds=[0-9]{1,9}\$)?[^$\s:]{1,16}\$[./0-9A-Za-z]{43}"),
    re.compile(r"\$2[abxy]\$[0-9]{2}\$[./0-9A-Za-z]{53}"),
    re.compile(r"\$g?y\$[./0-9A-Za-z]+\$[./0-9A-Za-z]{0,86}\$[./0-9A-Za-z]{43}"),
    re.compile(r"\$7\$[./0-9A-Za-z]{11,97}\$[./0-9A-Za-z]{43}"),
    re.compile(r"\$1\$[^$\s:]{0,8}\$[./0-9A-Za-z]{22}"),
)
_LOOKS_HASHED = re.compile(r"\$(1|2[abxy]?|5|6|7|y|gy)\$")
_LOCKED = re.compile(r"[!*][!*]?")


def is_hash(text: str) -> bool:
    """Whether `text` may go into /etc/shadow as it is: a whole crypt(5) hash, or `!` or `*`."""
    return bool(_LOCKED.fullmatch(text)) or any(pattern.fullmatch(text) for pattern in _HASHES)


def password_problems(document: Document, *, rendered: bool = False) -> list[Problem]:
    """Damaged hashes (errors: nobody could log in) and plain passwords (warnings)."""
    found: list[Problem] = []
    for path, node, text in _passwords(document):
        if is_hash(text) or (not rendered and "{{" in text):
            continue
        if _LOOKS_HASHED.match(text):
            message = "This looks like a password hash but is not a whole one."
            hint = "Make one with: openssl passwd -6"
            found.append(Problem(path=path, mark=node.mark, message=message, suggestion=hint))
        elif re.search(r"[\x00\n]", text):
            message = "A password is one line."
            found.append(Problem(path=path, mark=node.mark, message=message))
        else:
            message = "A plain password; it is hashed before it leaves this machine."
            severity = Severity.WARNING
            found.append(Problem(path=path, mark=node.mark, message=message, severity=severity))
    return found


def hash_passwords(document: Document) -> Document:
    """`document` with every plain password replaced by its hash. Costs 0.1 s CPU for each."""

    def change(path: Path, node: Node) -> Node | None:
        text = node.content
        if not (isinstance(text, str) and text and is_password(path)) or is_hash(text):
            return None
        return Node(_hashed(text), node.mark)

    return Document(rebuild(document.root, change))


def is_password(path: Path) -> bool:
    """Whether `path` is that of a login password: of `users`, or of a stage's `users`."""
    if len(path) == 3 and path[0] == "users" and isinstance(path[1], int):
        return path[2] == "passwd"
    return len(path) == 6 and path[0] == "stages" and (path[3], path[5]) == ("users", "passwd")


def _passwords(document: Document) -> list[tuple[Path, Node, str]]:
    return [
        (path, node, node.content)
        for path, node in walk(document.root)
        if is_password(path) and isinstance(node.content, str) and node.content
    ]


def _hashed(text: str) -> str:
    # Imported here: 50 ms that a config without plain passwords need not pay.
    from passlib.hash import sha512_crypt  # type: ignore[import-untyped]

    return str(sha512_crypt.using(rounds=ROUNDS).hash(text))
