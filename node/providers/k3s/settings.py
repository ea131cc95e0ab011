"""What a config says about k3s, and the files in which k3s reads it. Pure.

Arguments become k3s' own config file (docs.k3s.io/installation/configuration): there they are in no
list of processes. They are split as systemd would split Kairos' command line.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from node.stages.actions import MakeFolder, WriteFile
from pairing import errors
from pairing.config.document import Document

Role = Literal["server", "agent"]
KEYS: Mapping[Role, str] = {"server": "k3s", "agent": "k3s-agent"}
"""The config's key of each role: also the name of its systemd unit."""
FOLDER = "/etc/rancher/k3s"
CONFIG = f"{FOLDER}/config.yaml"
EXTRA = f"{FOLDER}/config.yaml.d/90-kairos.yaml"
"""Read after CONFIG, where the config writes that file itself."""
ENVIRONMENT = f"{FOLDER}/k3s.env"
DATA = "/var/lib/rancher/k3s"
KUBECONFIG = f"{FOLDER}/k3s.yaml"
SHORT: Mapping[str, str] = {
    "data-dir": "d",
    "server": "s",
    "token": "t",
    "write-kubeconfig": "o",
}
"""Short names of options that are looked at here (docs.k3s.io/cli/server)."""

Options = Mapping[str, Sequence[str]]
"""k3s' options without dashes; no value means that the option alone was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """k3s on this machine. Options and environment hold its token."""

    role: Role
    options: Options = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    own_file: bool = False
    """The config writes k3s' config file itself."""

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return f"{KEYS[self.role]}.service"

    @property
    def server(self) -> str:
        """The URL of the server that it joins; empty if it begins a cluster."""
        return self._value("server", "K3S_URL")

    @property
    def token(self) -> str:
        """What it joins with; empty if there is none, or k3s reads it from another file."""
        return self._value("token", "K3S_TOKEN")

    @property
    def data(self) -> str:
        """Where k3s keeps its data, certificates included."""
        return self._value("data-dir", "K3S_DATA_DIR") or DATA

    @property
    def kubeconfig(self) -> str:
        """Where a server writes its administrator's kubeconfig."""
        return self._value("write-kubeconfig", "K3S_KUBECONFIG_OUTPUT") or KUBECONFIG

    @property
    def has_kubelet(self) -> bool:
        """Whether the machine becomes a Node; a server may be without."""
        return self.role == "agent" or self.options.get("disable-agent") in (None, ("false",))

    @property
    def token_file(self) -> bool:
        """Whether the token is in a file of the config's own."""
        return bool(self._value("token-file", "K3S_TOKEN_FILE"))

    def _value(self, option: str, variable: str) -> str:
        """An option wins over the environment, the last one over those before."""
        values = self.options.get(option) or self.options.get(SHORT.get(option, ""))
        return values[-1] if values else self.environment.get(variable, "")

    def files(self) -> Sequence[MakeFolder | WriteFile]:
        """What k3s and its unit read: for root only, since tokens are in it."""
        config = EXTRA if self.own_file else CONFIG
        drop_in = f"/etc/systemd/system/{self.unit}.d/10-kairos.conf"
        return (
            MakeFolder(path=FOLDER, mode=0o700),
            WriteFile(path=config, content=config_file(self.options).encode(), mode=0o600),
            WriteFile(
                path=ENVIRONMENT, content=environment_file(self.environment).encode(), mode=0o600
            ),
            WriteFile(
                path=drop_in, content=f"[Service]\nEnvironmentFile=-{ENVIRONMENT}\n".encode()
            ),
        )


def wanted(config: Document, role: Role) -> bool:
    """Whether the config asks for it."""
    return config.get(KEYS[role], "enabled") is True


def settings(config: Document, role: Role) -> Settings:
    """What a valid config says. Raises errors.JoinSettingsIncomplete."""
    asked = config.get(KEYS[role])
    asked = asked if isinstance(asked, dict) else {}
    written = config.get("write_files")
    found = Settings(
        role=role,
        options=options(asked.get("args") or ()),
        environment={name: _text(value) for name, value in (asked.get("env") or {}).items()},
        own_file=any(file.get("path") == CONFIG for file in written or ()),
    )
    if role == "agent" and not found.own_file:
        if not found.server:
            raise errors.JoinSettingsIncomplete("There is no K3S_URL.")
        if not (found.token or found.token_file):
            raise errors.JoinSettingsIncomplete("There is no K3S_TOKEN.")
    return found


def options(arguments: Sequence[str]) -> Options:
    """`--name=value`, `--name value` or `--name`, in one text or two. Repeated ones add up."""
    words = [word for argument in arguments for word in _split(argument)]
    if words and words[0] in ("server", "agent"):
        del words[0]
    found: dict[str, list[str]] = {}
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            raise errors.JoinSettingsIncomplete("An argument of k3s begins with no dash.")
        name, between, value = word.lstrip("-").partition("=")
        if not between and words and not words[0].startswith("-"):
            between, value = " ", words.pop(0)
        found.setdefault(name, []).extend([value] if between else [])
    return {name: tuple(values) for name, values in found.items()}


def config_file(chosen: Options) -> str:
    """k3s' config file: YAML, of which JSON's scalars are a part."""
    return "".join(_lines(chosen)) or "# nothing beyond k3s' own defaults\n"


def _lines(chosen: Options) -> Iterator[str]:
    for name, values in chosen.items():
        if not values:
            yield f"{json.dumps(name)}: true\n"
        elif len(values) == 1:
            yield f"{json.dumps(name)}: {json.dumps(values[0])}\n"
        else:
            yield f"{json.dumps(name)}:\n"
            yield from (f"- {json.dumps(value)}\n" for value in values)


def environment_file(values: Mapping[str, str]) -> str:
    """systemd.exec(5), EnvironmentFile=: in double quotes, four characters need a backslash.

    Raises errors.JoinSettingsIncomplete for a variable that the file cannot hold.
    """
    lines = []
    for name, value in values.items():
        if set(name) & set("=\n\0 ") or set(value) & set("\n\0"):
            raise errors.JoinSettingsIncomplete("A variable is one line.", element=name[:40])
        escaped = "".join(f"\\{char}" if char in '\\"$`' else char for char in value)
        lines.append(f'{name}="{escaped}"\n')
    return "".join(lines)


def _split(argument: str) -> Sequence[str]:
    try:
        return shlex.split(argument)
    except ValueError:
        return (argument,)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
