"""Accounts as text: passwd(5), shadow(5), group(5), gshadow(5). Pure.

The files are edited directly, because `/etc` is made anew at every boot while `/home` stays: an
account must get the same number each time, which useradd(8) does not promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from node.stages.actions import EnsureUser
from pairing import errors
from pairing.config.passwords import is_hash

FIRST, LAST = 1000, 59999
"""Numbers of people (login.defs(5): UID_MIN, UID_MAX)."""
SYSTEM = range(999, 99, -1)
"""Numbers of system accounts, in the order in which useradd takes them."""
SHELL = "/bin/bash"
NO_SHELL = "/usr/sbin/nologin"
NO_PASSWORD = "*"
"""No password opens it, but it is not locked either: a key still may (`!` would stop sshd)."""
NEVER_CHANGED = "19700"
"""Days since 1970 of the last change, a fixed number: the same config gives the same files."""


@dataclass(slots=True)
class Table:
    """One of the files: lines of fields between colons. Lines that are none stay as they are."""

    lines: list[list[str]] = field(default_factory=list, repr=False)

    @classmethod
    def read(cls, content: bytes | None) -> Table:
        text = (content or b"").decode("utf-8", "surrogateescape")
        return cls([line.split(":") for line in text.splitlines()])

    def content(self) -> bytes:
        text = "".join(f"{':'.join(line)}\n" for line in self.lines)
        return text.encode("utf-8", "surrogateescape")

    def find(self, name: str) -> list[str] | None:
        """The line of `name`, to read or change."""
        return next((line for line in self.lines if line[0] == name and len(line) > 1), None)

    def add(self, line: Sequence[str]) -> list[str]:
        """Add a line and return it."""
        self.lines.append(list(line))
        return self.lines[-1]

    def numbers(self) -> set[int]:
        """Every number (third field) that is taken."""
        return {int(line[2]) for line in self.lines if len(line) > 2 and line[2].isdigit()}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an account is for the kernel, and where its home is."""

    uid: int
    gid: int
    home: str


@dataclass(slots=True)
class Accounts:
    """All four files of a system."""

    passwd: Table
    shadow: Table
    group: Table
    gshadow: Table

    def identity(self, name: str) -> Identity | None:
        """Who `name` is; None if there is no such account."""
        line = self.passwd.find(name)
        if line is None or len(line) < 6 or not (line[2].isdigit() and line[3].isdigit()):
            return None
        return Identity(int(line[2]), int(line[3]), line[5])

    def gid(self, group: str) -> int | None:
        """The number of a group; None if there is no such group."""
        line = self.group.find(group)
        return int(line[2]) if line and len(line) > 2 and line[2].isdigit() else None

    def ensure(self, user: EnsureUser, *, owner_of_home: int | None = None) -> Identity:
        """Make or change the account, and every group that it names.

        `owner_of_home` is whose the home already is: the account gets that number if it is free, so
        that a person's data stays theirs. Raises errors.AccountInvalid.
        """
        _require_clean(user)
        line = self.passwd.find(user.name) or self._new(user, owner_of_home)
        self._change(user, line)
        self._password(user)
        for group in user.groups:
            self._join(user.name, group)
        return Identity(int(line[2]), int(line[3]), line[5])

    def _new(self, user: EnsureUser, owner_of_home: int | None) -> list[str]:
        uid = self._number(user, owner_of_home)
        gid = self._primary_group(user, uid)
        home = user.home or f"/home/{user.name}"
        shell = user.shell or (NO_SHELL if user.system else SHELL)
        return self.passwd.add([user.name, "x", str(uid), str(gid), "", home, shell])

    def _number(self, user: EnsureUser, owner_of_home: int | None) -> int:
        taken = self.passwd.numbers()
        if user.uid is not None:
            if user.uid in taken:
                detail = f"The number {user.uid} belongs to another account."
                raise errors.AccountInvalid(detail, element=user.name)
            return user.uid
        if owner_of_home in set(range(FIRST, LAST + 1)) - taken:
            return owner_of_home
        return self._free(taken | self.group.numbers(), user)

    @staticmethod
    def _free(taken: set[int], user: EnsureUser) -> int:
        numbers: Iterable[int] = SYSTEM if user.system else range(FIRST, LAST + 1)
        free = next((number for number in numbers if number not in taken), None)
        if free is None:
            raise errors.AccountInvalid("No number is free.", element=user.name)
        return free

    def _primary_group(self, user: EnsureUser, uid: int) -> int:
        name = user.primary_group or user.name
        if (gid := self.gid(name)) is not None:
            return gid
        return self._add_group(name, uid if name == user.name else None, user)

    def _add_group(self, name: str, wish: int | None, user: EnsureUser) -> int:
        taken = self.group.numbers()
        gid = wish if wish is not None and wish not in taken else self._free_group(taken, user)
        self.group.add([name, "x", str(gid), ""])
        self.gshadow.add([name, "!", "", ""])
        return gid

    def _free_group(self, taken: set[int], user: EnsureUser) -> int:
        """Groups that no account is named after are system groups: people's numbers stay free."""
        free = next((number for number in SYSTEM if number not in taken), None)
        if free is None:
            raise errors.AccountInvalid("No group number is free.", element=user.name)
        return free

    def _change(self, user: EnsureUser, line: list[str]) -> None:
        line += [""] * (7 - len(line))
        if user.uid is not None and line[2] != str(user.uid):
            detail = f"The image has this account with the number {line[2]}."
            raise errors.AccountInvalid(detail, element=user.name)
        if user.full_name is not None:
            line[4] = user.full_name
        if user.home:
            line[5] = user.home
        if user.shell:
            line[6] = user.shell

    def _password(self, user: EnsureUser) -> None:
        line = self.shadow.find(user.name)
        if line is None:
            fresh = [user.name, NO_PASSWORD, NEVER_CHANGED, "0", "99999", "7", "", "", ""]
            line = self.shadow.add(fresh)
        if user.locked:
            line[1] = NO_PASSWORD
        elif user.password:
            line[1] = user.password

    def _join(self, name: str, group: str) -> None:
        if self.gid(group) is None:
            self._add_group(group, None, EnsureUser(name=name, system=True))
        for table in (self.group, self.gshadow):
            line = table.find(group)
            if line is None or len(line) < 4:
                continue
            members = [member for member in line[3].split(",") if member]
            if name not in members:
                line[3] = ",".join((*members, name))


def _require_clean(user: EnsureUser) -> None:
    """Raises errors.AccountInvalid if a value would break the files' form."""
    texts = [user.name, user.primary_group, user.full_name or "", user.home, user.shell]
    if any(set(text) & set(":\n\r\0") for text in (*texts, *user.groups)):
        detail = "Names and paths hold neither colons nor line breaks."
        raise errors.AccountInvalid(detail, element=user.name)
    if any(not group or set(group) & set(", \t") for group in user.groups):
        raise errors.AccountInvalid("A group's name is one word.", element=user.name)
    if user.password and not is_hash(user.password):
        detail = "Its password is no hash that the system could check."
        raise errors.AccountInvalid(detail, element=user.name)
