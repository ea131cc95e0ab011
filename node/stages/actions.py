"""What a stage does: frozen actions, made by `node.stages.planning`, done by `node.stages.doing`.

Contents, passwords and commands are secrets as far as anybody knows: they are in no `text` and in
no repr. `text` is what is shown and reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do. Doing it twice is the same as doing it once."""

    @property
    def text(self) -> str:
        """What it does, in one line for people."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFile(Action):
    """Put a whole file there, or add to one. `owner` and `group` are names or numbers.

    Missing folders are made, owned by root, mode 0755. An `append` that is there is not repeated.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    owner: str = "root"
    group: str = ""
    append: bool = False

    @property
    def text(self) -> str:
        return f"{'Add to' if self.append else 'Write'} {self.path}, mode {self.mode:04o}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeFolder(Action):
    """Make a folder, with this mode and owner also where it is there already."""

    path: str
    mode: int = 0o755
    owner: str = "root"
    group: str = ""

    @property
    def text(self) -> str:
        return f"Make the folder {self.path}, mode {self.mode:04o}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCommand(Action):
    """Run shell text (`sh`). It reaches the shell by its standard input, so that no list of
    processes shows it.
    """

    command: str = field(repr=False)
    number: int
    count: int
    seconds: float = 600.0

    @property
    def text(self) -> str:
        return f"Run command {self.number} of {self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetHostname(Action):
    """Name the machine."""

    name: str

    @property
    def text(self) -> str:
        return f"Name the machine {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureUser(Action):
    """Make an account, or bring it to what the config says. `password` is a crypt(5) hash or empty.

    `None` means that the config is silent.
    """

    name: str
    password: str = field(default="", repr=False)
    locked: bool = False
    groups: Sequence[str] = ()
    primary_group: str = ""
    uid: int | None = None
    full_name: str | None = None
    home: str = ""
    make_home: bool = True
    system: bool = False
    shell: str = ""
    keys: Sequence[str] = ()

    @property
    def text(self) -> str:
        groups = f", groups {', '.join(self.groups)}" if self.groups else ""
        return f"Make the user {self.name}{groups}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizeKeys(Action):
    """Let the owners of these ssh keys log in as `user`. Keys that are there stay."""

    user: str
    keys: Sequence[str]

    @property
    def text(self) -> str:
        return f"Authorize {len(self.keys)} ssh keys for {self.user}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetKernelSettings(Action):
    """sysctl(8), now and for what systemd-sysctl does later in this boot."""

    settings: Mapping[str, str] = field(repr=False)
    file: str

    @property
    def text(self) -> str:
        return f"Set {', '.join(self.settings)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadModules(Action):
    """Load kernel modules."""

    names: Sequence[str]

    @property
    def text(self) -> str:
        return f"Load {', '.join(self.names)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetEnvironment(Action):
    """Variables for everybody who logs in (environment(5)); others of the file stay."""

    values: Mapping[str, str] = field(repr=False)
    file: str

    @property
    def text(self) -> str:
        return f"Set {', '.join(self.values)} in {self.file}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTime(Action):
    """Settings of systemd-timesyncd (timesyncd.conf(5)), section Time."""

    settings: Mapping[str, str]
    file: str = "/etc/systemd/timesyncd.conf.d/90-kairos.conf"

    @property
    def text(self) -> str:
        return f"Set the time service: {', '.join(self.settings)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUnits(Action):
    """systemctl(1) `verb`: enable, disable, mask or start. What is enabled is started too, unless
    it is for the end of this boot: `/etc` is made anew at the next one, so it would never run.
    """

    verb: str
    units: Sequence[str]

    @property
    def text(self) -> str:
        return f"{self.verb.capitalize()} {', '.join(self.units)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNameservers(Action):
    """Write resolv.conf(5)."""

    nameservers: Sequence[str] = ()
    search: Sequence[str] = ()
    options: Sequence[str] = ()
    file: str = "/etc/resolv.conf"

    @property
    def text(self) -> str:
        return f"Ask {', '.join(self.nameservers)} for names"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotExecuted(Action):
    """A key that nobody here knows: reported, so that nothing is left out in silence."""

    key: str

    @property
    def text(self) -> str:
        return f"Cannot do {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One entry of a stage: what must hold, and then what is done, in this order.

    `condition` is a shell test. `name` is the config's, or says where the step stands in it.
    """

    stage: str
    name: str
    actions: Sequence[Action]
    condition: str = field(default="", repr=False)
    only: Sequence[tuple[str, str]] = ()
    """Further conditions, such as `("only_arch", "amd64")`."""
