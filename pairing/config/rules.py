"""What a JSON Schema cannot say about a config: rules across keys, keys and names that parse.

Pure, and without any machine: `pairing.config.machine` holds a config against hardware.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pairing.config.accounts import account
from pairing.config.document import Document, Node, walk
from pairing.config.places import reserved
from pairing.config.problem import Path, Problem, Severity
from pairing.config.sshkeys import flaw, key_lines

Mode = Literal["tpm2", "tpm2+tang", "tang", "recovery-only", "none"]
DEFAULT_MODE: Mode = "tpm2"
ADMIN_GROUPS = frozenset({"admin", "sudo", "wheel"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """What `install.encrypt` asks for. `said` is False where the config is silent."""

    mode: Mode = DEFAULT_MODE
    tang: str = ""
    by_approval: bool = False
    said: bool = False

    @property
    def wants_tpm(self) -> bool:
        return self.mode in ("tpm2", "tpm2+tang")

    @property
    def wants_tang(self) -> bool:
        return self.mode in ("tang", "tpm2+tang")


def encryption(document: Document) -> Encryption:
    """The encryption that a valid config asks for; on (`tpm2`) unless it says otherwise."""
    asked = document.get("install", "encrypt")
    if isinstance(asked, str):
        asked = {"mode": asked}
    if not isinstance(asked, dict):
        return Encryption()
    tang = asked.get("tang")
    return Encryption(
        mode=next((mode for mode in get_args(Mode) if mode == asked.get("mode")), DEFAULT_MODE),
        tang=tang if isinstance(tang, str) else "",
        by_approval=asked.get("unlock") == "approval",
        said="mode" in asked,
    )


def across_keys(document: Document, *, rendered: bool = False) -> Iterator[Problem]:
    """Every broken rule. Values of a wrong type are passed over: the schema reports those."""
    yield from _keys_parse(document, rendered)
    yield from _login(document)
    yield from _names_once(document)
    yield from _install(document)
    yield from _files(document)
    yield from _permissions(document)
    yield from _one_cluster(document)


def _keys_parse(document: Document, rendered: bool) -> Iterator[Problem]:
    for path, node in key_lines(document):
        line = node.content
        if not isinstance(line, str) or account(line) or (not rendered and "{{" in line):
            continue
        if re.match(r"[a-z]+:", line):
            message = "Only github:NAME is looked up, with a name that GitHub allows."
            yield _error(document, path, message, "Or write the keys themselves.")
        elif what := flaw(line):
            yield _error(document, path, what)


def users(document: Document) -> list[tuple[Path, dict[str, Any]]]:
    """The entries of `users` that are maps, each with its path."""
    listed = document.get("users")
    found = enumerate(listed) if isinstance(listed, list) else ()
    return [(("users", i), user) for i, user in found if isinstance(user, dict)]


def _login(document: Document) -> Iterator[Problem]:
    """At least one way in, unless the config says that nobody needs one."""
    if document.get("install", "nousers") is True:
        return
    people = users(document)
    shared = shared_keys_go_to([user for _, user in people])
    extra = shared if document.get("ssh_authorized_keys") else []
    can = [user for _, user in people if _has_way_in(user) or user in extra]
    where: Path = ("users",)
    if not can:
        message = "Nobody could log in to this machine."
        hint = "Give a user a passwd or ssh_authorized_keys, or say install.nousers: true."
        yield _error(document, where, message, hint, at_key=True)
    elif not any(_may_become_root(user) for user in can):
        message = "None of these users may become root."
        hint = "Add the group `admin` to one."
        yield _warning(document, where, message, hint)


def shared_keys_go_to(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of `users` whom `ssh_authorized_keys` at the top lets in: who may become root, else
    everybody. Kairos lets everybody in, service accounts included.
    """
    return [user for user in people if _may_become_root(user)] or people


def _has_way_in(user: dict[str, Any]) -> bool:
    password = bool(user.get("passwd")) and user.get("lock_passwd") is not True
    return password or bool(user.get("ssh_authorized_keys"))


def _may_become_root(user: dict[str, Any]) -> bool:
    groups = user.get("groups")
    named = (
        {group for group in groups if isinstance(group, str)} if isinstance(groups, list) else set()
    )
    return user.get("name") == "root" or bool(ADMIN_GROUPS & named)


def _names_once(document: Document) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for path, user in users(document):
        name = user.get("name")
        if not isinstance(name, str):
            continue
        if name in seen:
            message = f"This user is already listed at line {seen[name]}."
            yield _error(document, (*path, "name"), message)
        seen.setdefault(name, document.position(path).line)
    if document.get("ssh_authorized_keys") and not users(document):
        message = "These keys belong to `users`, and there is none."
        yield _error(document, ("ssh_authorized_keys",), message, "Add a user.", at_key=True)


_BY_TANG = "A tang server opens the disk without asking anybody."
_NO_APPROVAL: Mapping[Mode, str] = {
    "none": "There is nothing to unlock with mode none.",
    "recovery-only": "The disk opens with its recovery key only, so nobody can approve it.",
    "tang": _BY_TANG,
    "tpm2+tang": _BY_TANG,
}
"""An approval is half of a key; the other half is in the TPM."""


def _install(document: Document) -> Iterator[Problem]:
    if document.get("install", "reboot") is True and document.get("install", "poweroff") is True:
        message = "reboot and poweroff cannot both be true."
        yield _error(document, ("install", "poweroff"), message, at_key=True)
    asked = encryption(document)
    path: Path = ("install", "encrypt")
    if asked.wants_tang and not asked.tang:
        message = "This encryption mode needs the address of a tang server."
        yield _error(document, path, message, "Add install.encrypt.tang: http://...", at_key=True)
    if asked.tang and not asked.wants_tang:
        message = f"The mode {asked.mode} does not use a tang server."
        yield _error(
            document, (*path, "tang"), message, "Say mode: tang or tpm2+tang.", at_key=True
        )
    if asked.by_approval and asked.mode in _NO_APPROVAL:
        message, hint = _NO_APPROVAL[asked.mode], "Approval needs mode tpm2; else leave it out."
        yield _error(document, (*path, "unlock"), message, hint, at_key=True)
    if asked.mode == "none":
        message = "The config, with its secrets, will be readable on the disk."
        yield _warning(document, path, message)
    device = document.get("install", "device")
    if isinstance(device, str) and ".." in device.split("/"):
        yield _error(document, ("install", "device"), "`..` is not allowed in a device path.")


_LOOKALIKES = frozenset({400, 440, 444, 500, 600, 640, 644, 660, 664, 700, 750, 755, 770, 775, 777})


def decimal_mode(path: Path, node: Node) -> str:
    """What to write instead of `permissions: 644`: YAML's decimal 644 is the mode 01204, which
    nobody means. Empty if this is no such mistake."""
    mode = node.content
    wrong = path and path[-1] == "permissions" and isinstance(mode, int) and mode in _LOOKALIKES
    return f"Write 0{mode}." if wrong else ""


def _permissions(document: Document) -> Iterator[Problem]:
    for path, node in walk(document.root):
        if hint := decimal_mode(path, node):
            message = f"This is the decimal number {node.content}, not an octal mode."
            yield _error(document, path, message, hint)


def _files(document: Document) -> Iterator[Problem]:
    """Files and folders, of the top and of stages: whole paths, and none of ours."""
    for path, node in walk(document.root):
        if not (_is_target(path) and isinstance(node.content, str)):
            continue
        if ".." in node.content.split("/"):
            yield _error(document, path, "`..` is not allowed in the path of a file.")
        elif ours := reserved(node.content):
            hint = "Write below /etc, /srv, /var, /home, /usr/local or /run."
            yield _error(document, path, f"No config writes to {ours}.", hint)


def _is_target(path: Path) -> bool:
    if len(path) == 3:
        return path[0] == "write_files" and path[2] == "path"
    lists = ("files", "directories")
    return len(path) == 6 and path[0] == "stages" and path[3] in lists and path[5] == "path"


CLUSTERS = ("k3s", "k3s-agent", "kubernetes")
"""Keys that join a machine to a cluster, once `enabled`."""


def joins(document: Document) -> bool:
    """Whether a machine with this config joins anything (or may: a value is not filled in yet)."""
    enabled = [document.get(key, "enabled") for key in CLUSTERS]
    return any(value is True or isinstance(value, str) for value in enabled) or bool(
        document.get("providers")
    )


def _one_cluster(document: Document) -> Iterator[Problem]:
    """Two of them would fight over ports and the container runtime."""
    first, *others = [key for key in CLUSTERS if document.get(key, "enabled") is True] or [""]
    for key in others:
        message = f"This machine already joins by {first}."
        yield _error(document, (key,), message, "Enable one of them.", at_key=True)


def _error(
    document: Document, path: Path, message: str, hint: str = "", *, at_key: bool = False
) -> Problem:
    mark = document.key_position(path) if at_key else document.position(path)
    return Problem(path=path, mark=mark, message=message, suggestion=hint)


def _warning(document: Document, path: Path, message: str, hint: str = "") -> Problem:
    mark = document.key_position(path)
    severity = Severity.WARNING
    return Problem(path=path, mark=mark, message=message, suggestion=hint, severity=severity)
