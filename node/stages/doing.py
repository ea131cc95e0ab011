"""Does an action: the one place where a config changes the system.

Files go through `node.stages.inside`, programs through the door that is handed in. With another
root than `/` only files are changed, commands run in a chroot, and nothing touches the running
kernel or its services.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.stages import actions as do
from node.stages.accounts import Accounts, Identity, Table
from node.stages.inside import Inside
from node.system.door import Door
from pairing import errors
from pairing.process import Result

SYSTEMD_SECONDS = 90.0
MODULE_SECONDS = 60.0
TAIL = 1500
"""Characters of a command's output that are kept."""
SUDOERS = "/etc/sudoers.d/90-kairos"
SUDO_RULES = {"admin": "NOPASSWD: ALL", "sudo": "ALL", "wheel": "ALL"}
"""Of the groups whose members may become root. `admin` needs no password, as in Kairos."""


LATER_TARGETS = frozenset(
    f"{name}.target"
    for name in (
        *("shutdown", "reboot", "poweroff", "halt", "kexec", "soft-reboot", "factory-reset"),
        *("sleep", "suspend", "hibernate", "hybrid-sleep", "suspend-then-hibernate"),
        *("rescue", "emergency", "system-update"),
    )
)
"""What is enabled for these (systemd.special(7)) waits for them."""


def carry_out(action: do.Action, root: Path, run: Door) -> None:
    """Do `action` on the system at `root`. Raises errors.KnownError or OSError."""
    _HANDLERS[type(action)](System(root, run), action)


@dataclass(frozen=True, slots=True)
class System:
    """A system's files and programs."""

    root: Path
    run: Door

    @property
    def inside(self) -> Inside:
        return Inside(self.root)

    @property
    def is_running(self) -> bool:
        """Whether it is the one that we run in."""
        return self.root == Path("/")

    def accounts(self) -> Accounts:
        names = ("passwd", "shadow", "group", "gshadow")
        return Accounts(*(Table.read(self.inside.read(f"/etc/{name}")) for name in names))

    def owner(self, owner: str, group: str) -> tuple[int, int]:
        """The numbers of an owner. Raises errors.AccountInvalid."""
        accounts = self.accounts()
        if owner.isdigit():
            uid, gid = int(owner), 0
        elif owner in ("", "root"):
            uid, gid = 0, 0
        elif (found := accounts.identity(owner)) is not None:
            uid, gid = found.uid, found.gid
        else:
            raise errors.AccountInvalid("There is no such account.", element=owner)
        if group.isdigit():
            return uid, int(group)
        if group in ("", "root"):
            return uid, gid if not group else 0
        number = accounts.gid(group)
        if number is None:
            raise errors.AccountInvalid("There is no such group.", element=group)
        return uid, number

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """A file of root's."""
        self.inside.write(path, content, mode=mode)

    def tool(self, *argv: str, seconds: float) -> None:
        self.run(argv, seconds=seconds)


# --- files --------------------------------------------------------------------------------------


def _write_file(system: System, action: do.WriteFile) -> None:
    owner = system.owner(action.owner, action.group)
    content = action.content
    if action.append:
        old = system.inside.read(action.path) or b""
        content = old if content in old else old + content
    system.inside.write(action.path, content, mode=action.mode, owner=owner)
    if action.path.startswith(("/etc/systemd/", "/run/systemd/")) and system.is_running:
        system.tool("systemctl", "daemon-reload", seconds=SYSTEMD_SECONDS)


def _make_folder(system: System, action: do.MakeFolder) -> None:
    owner = system.owner(action.owner, action.group)
    system.inside.make_folder(action.path, mode=action.mode, owner=owner)


# --- names --------------------------------------------------------------------------------------


def _set_hostname(system: System, action: do.SetHostname) -> None:
    name = action.name
    system.put("/etc/hostname", f"{name}\n".encode())
    old = (system.inside.read("/etc/hosts") or b"127.0.0.1 localhost\n").decode("utf-8", "replace")
    kept = [line for line in old.splitlines() if line.split()[:1] != ["127.0.1.1"]]
    names = " ".join(dict.fromkeys((name, name.partition(".")[0])))
    system.put("/etc/hosts", "\n".join((*kept, f"127.0.1.1 {names}", "")).encode())
    if not _kernel_setting(system, "kernel.hostname", name):
        raise errors.KeyNotExecuted("The kernel does not take this name.", element="hostname")


def _set_nameservers(system: System, action: do.SetNameservers) -> None:
    lines = [f"nameserver {server}" for server in action.nameservers]
    lines += [f"search {' '.join(action.search)}"] if action.search else []
    lines += [f"options {' '.join(action.options)}"] if action.options else []
    if any("\n" in line for line in lines):
        raise errors.PathRefused("A name server is one line.", element=action.file)
    system.put(action.file, "\n".join((*lines, "")).encode())


# --- kernel, time, environment ------------------------------------------------------------------


def _set_kernel(system: System, action: do.SetKernelSettings) -> None:
    lines = [f"{name} = {value}" for name, value in action.settings.items()]
    if any("\n" in line for line in lines):
        raise errors.PathRefused("A kernel setting is one line.", element=action.file)
    system.put(action.file, "\n".join((*lines, "")).encode())
    missing = [
        name for name, value in action.settings.items() if not _kernel_setting(system, name, value)
    ]
    if missing:
        detail = f"The kernel has no setting {', '.join(missing)}, or does not take the value."
        raise errors.KeyNotExecuted(detail, element="sysctl")


def _kernel_setting(system: System, name: str, value: str) -> bool:
    """Write below /proc/sys (sysctl.d(5) says how names become paths). True if it was taken."""
    first = next((char for char in name if char in "./"), ".")
    swapped = name.translate(str.maketrans("./", "/.")) if first == "." else name
    parts = swapped.split("/")
    if ".." in parts or "" in parts:
        return False
    path = system.root.joinpath("proc/sys", *parts)
    if not system.is_running and not path.exists():
        return True  # another root has no kernel
    try:
        path.write_text(f"{value}\n", encoding="utf-8")
    except OSError:
        return False
    return True


def _load_modules(system: System, action: do.LoadModules) -> None:
    if not system.is_running:
        return
    for name in action.names:
        system.tool("modprobe", "--", *shlex.split(name), seconds=MODULE_SECONDS)


def _set_environment(system: System, action: do.SetEnvironment) -> None:
    old = (system.inside.read(action.file) or b"").decode("utf-8", "replace").splitlines()
    lines = [line for line in old if line.partition("=")[0].strip() not in action.values]
    for name, value in action.values.items():
        if set(name) & set("=\n\0 ") or set(value) & set("\n\0"):
            raise errors.KeyNotExecuted("A variable is one line.", element=name[:40])
        # pam_env(8) takes the quotes away and knows no escape inside them.
        lines.append(f'{name}="{value}"')
    system.put(action.file, "\n".join((*lines, "")).encode())


def _set_time(system: System, action: do.SetTime) -> None:
    lines = ["[Time]", *(f"{name}={value}" for name, value in action.settings.items()), ""]
    if any("\n" in line for line in lines):
        raise errors.PathRefused("A setting is one line.", element=action.file)
    system.put(action.file, "\n".join(lines).encode())
    if system.is_running:
        argv = ("systemctl", "--no-block", "try-restart", "systemd-timesyncd.service")
        system.tool(*argv, seconds=SYSTEMD_SECONDS)


def _set_units(system: System, action: do.SetUnits) -> None:
    if not system.is_running:
        if action.verb != "start":
            argv = ("systemctl", f"--root={system.root}", action.verb, "--", *action.units)
            system.tool(*argv, seconds=SYSTEMD_SECONDS)
        return
    extra = ("--no-block",) if action.verb == "start" else ()
    argv = ("systemctl", *extra, action.verb, "--", *action.units)
    system.tool(*argv, seconds=SYSTEMD_SECONDS)
    if action.verb == "enable":
        for unit in action.units:
            _start_enabled(system, unit)


def _start_enabled(system: System, unit: str) -> None:
    """Start what a target of this boot wants now: one that is reached takes nothing new along."""
    argv = ("systemctl", "show", "--property=WantedBy,RequiredBy", "--", unit)
    lines = system.run(argv, seconds=SYSTEMD_SECONDS).text().splitlines()
    wanting = {name for line in lines for name in line.partition("=")[2].split()}
    if wanting - LATER_TARGETS:
        system.tool("systemctl", "--no-block", "start", "--", unit, seconds=SYSTEMD_SECONDS)


# --- accounts -----------------------------------------------------------------------------------


def _ensure_user(system: System, action: do.EnsureUser) -> None:
    with _account_lock(system.root):
        accounts = system.accounts()
        home = action.home or f"/home/{action.name}"
        at_home = system.inside.status(home)
        identity = accounts.ensure(action, owner_of_home=at_home.st_uid if at_home else None)
        _save(system, accounts)
    _sudo_rules(system, action.groups)
    if action.make_home and identity.uid != 0:
        _make_home(system, identity)
    if action.keys:
        _authorize(system, identity, action.keys)


def _save(system: System, accounts: Accounts) -> None:
    """Each file whole or not at all, with the mode and owner that it has."""
    tables = {
        "group": (accounts.group, 0o644),
        "gshadow": (accounts.gshadow, 0o600),
        "passwd": (accounts.passwd, 0o644),
        "shadow": (accounts.shadow, 0o600),
    }
    for name, (table, mode) in tables.items():
        path = f"/etc/{name}"
        was = system.inside.status(path)
        if system.inside.read(path) == table.content():
            continue
        mode, gid = (was.st_mode & 0o777, was.st_gid) if was else (mode, 0)
        system.inside.write(path, table.content(), mode=mode, owner=(0, gid))


@contextlib.contextmanager
def _account_lock(root: Path) -> Iterator[None]:
    """lckpwdf(3)'s lock: useradd and systemd-sysusers keep away, or are not disturbed."""
    handle = os.open(root / "etc/.pwd.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            detail = "Another program is changing the accounts right now."
            raise errors.AccountInvalid(detail) from None
        yield
    finally:
        os.close(handle)


def _sudo_rules(system: System, groups: Sequence[str]) -> None:
    used = [group for group in SUDO_RULES if group in groups]
    if not used:
        return
    old = (system.inside.read(SUDOERS) or b"").decode().splitlines()
    rules = [f"%{group} ALL=(ALL:ALL) {SUDO_RULES[group]}" for group in used]
    system.put(SUDOERS, "\n".join((*dict.fromkeys((*old, *rules)), "")).encode(), mode=0o440)


def _make_home(system: System, identity: Identity) -> None:
    """The home folder with what /etc/skel holds; one that is there stays as it is."""
    inside = system.inside
    if inside.status(identity.home) is not None:
        return
    owner = (identity.uid, identity.gid)
    inside.make_folder(identity.home, mode=0o700, owner=owner)
    for name in inside.names("/etc/skel"):
        content = inside.read(f"/etc/skel/{name}") if _is_file(system, name) else None
        if content is not None:
            inside.write(f"{identity.home}/{name}", content, mode=0o644, links=False, owner=owner)


def _is_file(system: System, name: str) -> bool:
    status = system.inside.status(f"/etc/skel/{name}")
    return status is not None and (status.st_mode & 0o170000) == 0o100000


def _authorize_keys(system: System, action: do.AuthorizeKeys) -> None:
    identity = system.accounts().identity(action.user)
    if identity is None:
        raise errors.AccountInvalid("There is no such account.", element=action.user)
    _authorize(system, identity, action.keys)


def _authorize(system: System, identity: Identity, keys: Sequence[str]) -> None:
    """Add the keys that are not there. The home is the user's: no link below it is followed."""
    folder = f"{identity.home.rstrip('/')}/.ssh"
    file = f"{folder}/authorized_keys"
    owner = (identity.uid, identity.gid)
    home = system.inside.status(identity.home)
    if home is None:
        system.inside.make_folder(identity.home, mode=0o700, owner=owner)
    system.inside.make_folder(folder, mode=0o700, links=False, owner=owner)
    old = (system.inside.read(file, links=False) or b"").decode("utf-8", "replace").splitlines()
    lines = dict.fromkeys((*old, *(key.strip() for key in keys)))
    content = "\n".join((*filter(None, lines), "")).encode()
    system.inside.write(file, content, mode=0o600, links=False, owner=owner)


# --- commands -----------------------------------------------------------------------------------


def _run_command(system: System, action: do.RunCommand) -> None:
    result = shell(system, action.command, action.seconds)
    if result.status != 0:
        raise errors.CommandUnsuccessful(said(result), element=action.text)


def shell(system: System, text: str, seconds: float) -> Result:
    """Run `text` by sh. It comes by standard input, whole before it begins, and reads nothing."""
    script = f"{{\n{text}\n}} </dev/null\n".encode()
    argv = ["/bin/sh", "-s"]
    if not system.is_running:
        argv = ["chroot", str(system.root), *argv]
    return system.run(argv, seconds=seconds, stdin=script, check=False)


def said(result: Result) -> str:
    """Status and the end of what a program printed."""
    printed = b"\n".join(filter(None, (result.stdout.strip(), result.stderr.strip())))
    return f"Status {result.status}. {printed.decode('utf-8', 'replace')[-TAIL:]}".strip()


def _not_executed(system: System, action: do.NotExecuted) -> None:
    raise errors.KeyNotExecuted(element=action.key)


_HANDLERS: Mapping[type[do.Action], Callable[[System, Any], None]] = {
    do.WriteFile: _write_file,
    do.MakeFolder: _make_folder,
    do.RunCommand: _run_command,
    do.SetHostname: _set_hostname,
    do.EnsureUser: _ensure_user,
    do.AuthorizeKeys: _authorize_keys,
    do.SetKernelSettings: _set_kernel,
    do.LoadModules: _load_modules,
    do.SetEnvironment: _set_environment,
    do.SetTime: _set_time,
    do.SetUnits: _set_units,
    do.SetNameservers: _set_nameservers,
    do.NotExecuted: _not_executed,
}
