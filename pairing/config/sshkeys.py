"""Public ssh keys in a config: where they stand, and what is wrong with one.

Format: OpenSSH's authorized_keys (sshd(8)), RFC 4253 section 6.6, RFC 8709.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct

from pairing.config.document import Document, Node, walk
from pairing.config.problem import Path

LINE_LIMIT = 16 * 1024

_TYPES = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
_KEY = re.compile(
    r"(?:^|(?<=[\s,\"]))(?P<type>[a-z0-9@.-]+)\s+(?P<body>[A-Za-z0-9+/]+={0,2})(?=\s|$)"
)


def flaw(line: str) -> str:
    """What is wrong with one line of authorized_keys, as a sentence; empty if nothing is.

    Options before the key are allowed, but not looked into.
    """
    if "PRIVATE KEY" in line:
        return "This is a private key! Only the public half (the .pub file) belongs here."
    if len(line) > LINE_LIMIT or "\n" in line.strip("\n"):
        return "A key must be one line."
    for found in _KEY.finditer(line):
        if found["type"] in _TYPES:
            return _body_flaw(found["type"], found["body"])
    return "This is not an ssh public key (such as `ssh-ed25519 AAAA... name`)."


def _body_flaw(kind: str, body: str) -> str:
    try:
        blob = base64.b64decode(body, validate=True)
        length = struct.unpack_from(">I", blob)[0]
        inside = blob[4 : 4 + length].decode("ascii")
    except (binascii.Error, struct.error, UnicodeDecodeError):
        return "This ssh key is damaged: its middle part is not base64 of a key."
    if inside != kind:
        return f"This ssh key is damaged: it says {kind} but holds something else."
    if not _complete(blob, 4 + length):
        return "This ssh key is cut short: copy the whole line."
    return ""


def _complete(blob: bytes, at: int) -> bool:
    """Whether `blob` from `at` is at least one length-prefixed field, and ends with the last."""
    fields = 0
    while at + 4 <= len(blob):
        at += 4 + int(struct.unpack_from(">I", blob, at)[0])
        fields += 1
    return fields > 0 and at == len(blob)


def key_lines(document: Document) -> list[tuple[Path, Node]]:
    """Every entry that is meant to be an ssh key, wherever a config may hold one."""
    return [(path, node) for path, node in walk(document.root) if is_key_entry(path)]


def is_key_entry(path: Path) -> bool:
    """Whether `path` is that of an item in a list of ssh keys."""
    if len(path) < 2 or not isinstance(path[-1], int):
        return False
    return path[-2] == "ssh_authorized_keys" or "authorized_keys" in path[-3:-1]
