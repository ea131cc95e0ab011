"""From a config and a stage's name to steps. Pure.

The keys at the top of a config belong to the stage `boot`, before that stage's own steps, as in
Kairos; `runcmd` to the stage `network`. Within a step the order of the keys is Kairos' (yip): name
servers, folders, files, commands, hostname, sysctl, users, keys, modules, time, units, environment.
At the top, users come before files, so that a file may belong to one of them.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import re
import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from node.stages.actions import (
    Action,
    AuthorizeKeys,
    EnsureUser,
    LoadModules,
    MakeFolder,
    NotExecuted,
    RunCommand,
    SetEnvironment,
    SetHostname,
    SetKernelSettings,
    SetNameservers,
    SetTime,
    SetUnits,
    Step,
    WriteFile,
)
from pairing.config.document import Document
from pairing.config.rules import shared_keys_go_to

STAGES = ("initramfs", "fs", "boot", "network", "reconcile", "after-install")
"""The moments at which something of a config is applied, in the order of a machine's life."""
ONCE = STAGES[-1]
ELSEWHERE = re.compile(
    r"(rootfs|(before|after)-(install|upgrade|reset)(-chroot)?|provider-kairos\.bootstrap"
    r"|kairos-(uki-)?(install|upgrade|reset)\.(pre|after))(\.before|\.after)?"
)
"""Names of Kairos' stages, of which those that are not ours are applied by Kairos only."""
CONTENT_LIMIT = 16 * 1024 * 1024
"""Bytes of a file after unpacking: a small gzip may hold a large nothing."""
ONLY = ("only_os", "only_os_version", "only_arch", "only_service_manager", "node")
"""Kairos' further conditions of a step; each is a text to compare with."""
_VERBS = ("enable", "disable", "mask", "start")
"""In yip's order."""

Values = Mapping[str, Any]
"""A map of the config as it was written; the schema has checked it."""


def plan_stage(config: Document, stage: str) -> tuple[Step, ...]:
    """Everything to do at `stage`: `STAGE.before`, the stage, `STAGE.after`.

    What cannot be done at all is planned as `NotExecuted`, so that it is reported in its turn;
    Kairos' stages that have no turn here are reported once, after the installation.
    """
    value = config.value
    steps: list[Step] = []
    if stage == "boot":
        steps += _top(value)
    if stage == "network" and value.get("runcmd"):
        steps.append(_runcmd(value["runcmd"]))
    stages = value.get("stages") or {}
    before, during, after = (
        list(_own(stages, name)) for name in (f"{stage}.before", stage, f"{stage}.after")
    )
    never = _never(stages) if stage == ONCE else ()
    return (*before, *steps, *during, *after, *never)


def known_stages(config: Document) -> tuple[str, ...]:
    """Our stages, and what else `stages` of the config names: those run only when asked for."""
    found = config.get("stages")
    names = list(found) if isinstance(found, dict) else []
    return tuple(dict.fromkeys((*STAGES, *map(_stage_of, names))))


def text_of(steps: Sequence[Step]) -> Iterator[str]:
    """The steps for people, line by line, without secrets. Whoever prints it escapes it."""
    for step in steps:
        maybe = " (if its condition holds)" if step.condition or step.only else ""
        yield f"{step.stage}: {step.name}{maybe}"
        for action in step.actions:
            yield f"    {action.text}"


def _never(stages: Values) -> Iterator[Step]:
    names = [name for name in stages if ELSEWHERE.fullmatch(name) and _stage_of(name) not in STAGES]
    if names:
        actions = tuple(NotExecuted(key=f"stages.{name}") for name in names)
        yield Step(stage=ONCE, name="stages of Kairos that are not applied here", actions=actions)


def _stage_of(name: str) -> str:
    return name.removesuffix(".before").removesuffix(".after")


def _own(stages: Values, stage: str) -> Iterator[Step]:
    for number, step in enumerate(stages.get(stage) or (), start=1):
        name = str(step.get("name") or f"{stage} {number}")
        yield Step(
            stage=stage,
            name=name,
            actions=tuple(_step(step)),
            condition=str(step.get("if") or ""),
            only=tuple((key, str(step[key])) for key in ONLY if step.get(key)),
        )


# --- the keys at the top ------------------------------------------------------------------------


def _top(value: Values) -> Iterator[Step]:
    actions = tuple(_top_actions(value))
    if actions:
        yield Step(stage="boot", name="the config's own keys", actions=actions)


def _top_actions(value: Values) -> Iterator[Action]:
    if value.get("hostname"):
        yield SetHostname(name=value["hostname"])
    shared = value.get("ssh_authorized_keys") or ()
    yield from _with_shared_keys(value.get("users") or (), shared)
    for file in value.get("write_files") or ():
        yield _file(file)
    yield from _sysctl(value, "90-kairos")
    yield from _environment(value)
    if servers := (value.get("ntp") or {}).get("servers"):
        yield SetTime(settings={"NTP": " ".join(servers)})


def _with_shared_keys(users: Sequence[Values], shared: Sequence[str]) -> Iterator[EnsureUser]:
    """The users, each with the keys at the top that are for it."""
    having = shared_keys_go_to([dict(user) for user in users])
    for user in users:
        own = user.get("ssh_authorized_keys") or ()
        keys = (*own, *shared) if user in having else own
        yield _user(user["name"], {**user, "ssh_authorized_keys": tuple(dict.fromkeys(keys))})


def _runcmd(commands: Sequence[Any]) -> Step:
    texts = [shlex.join(one) if isinstance(one, list) else str(one) for one in commands]
    return Step(stage="network", name="runcmd", actions=tuple(_commands(texts)))


# --- one step -----------------------------------------------------------------------------------


def _step(step: Values) -> Iterator[Action]:
    yield from _names(step)
    for folder in step.get("directories") or ():
        yield _folder(folder)
    for file in step.get("files") or ():
        yield _file(file)
    yield from _commands(step.get("commands") or ())
    if step.get("hostname"):
        yield SetHostname(name=step["hostname"])
    yield from _sysctl(step, "91-kairos-stages")
    for name, user in (step.get("users") or {}).items():
        yield _user(name, user or {})
    for name, keys in (step.get("authorized_keys") or {}).items():
        yield AuthorizeKeys(user=name, keys=tuple(keys))
    if step.get("modules"):
        yield LoadModules(names=tuple(step["modules"]))
    if step.get("timesyncd"):
        settings = {key: _text(value) for key, value in step["timesyncd"].items()}
        yield SetTime(settings=settings, file="/etc/systemd/timesyncd.conf.d/91-kairos-stages.conf")
    yield from _units(step.get("systemctl") or {})
    yield from _environment(step)
    yield from (NotExecuted(key=key) for key in step if key not in _STEP_KEYS)


_STEP_KEYS = frozenset(
    {"name", "if", "commands", "files", "directories", "hostname", "users", "authorized_keys"}
    | {"sysctl", "modules", "environment", "environment_file", "systemctl", "timesyncd", "dns"}
    | set(ONLY)
)


def _names(step: Values) -> Iterator[Action]:
    dns = step.get("dns")
    if dns:
        lists = {key: tuple(dns.get(key) or ()) for key in ("nameservers", "search", "options")}
        yield SetNameservers(**lists, file=dns.get("path") or "/etc/resolv.conf")


def _units(said: Values) -> Iterator[Action]:
    for verb in _VERBS:
        if said.get(verb):
            yield SetUnits(verb=verb, units=tuple(said[verb]))
    yield from (NotExecuted(key=f"systemctl.{key}") for key in said if key not in _VERBS)


def _commands(texts: Sequence[str]) -> Iterator[Action]:
    for number, text in enumerate(texts, start=1):
        yield RunCommand(command=text, number=number, count=len(texts))


def _sysctl(said: Values, name: str) -> Iterator[Action]:
    if said.get("sysctl"):
        settings = {key: _number_text(value) for key, value in said["sysctl"].items()}
        yield SetKernelSettings(settings=settings, file=f"/etc/sysctl.d/{name}.conf")


def _environment(said: Values) -> Iterator[Action]:
    if said.get("environment"):
        values = {key: _text(value) for key, value in said["environment"].items()}
        file = said.get("environment_file") or "/etc/environment"
        yield SetEnvironment(values=values, file=file)


def _file(said: Values) -> Action:
    owner, group = _owner(said)
    content = _content(said)
    if content is None:
        return NotExecuted(key=f"{said['path']}: its content does not unpack")
    return WriteFile(
        path=said["path"],
        content=content,
        mode=_mode(said.get("permissions"), 0o644),
        owner=owner,
        group=group,
        append=said.get("append") is True,
    )


def _folder(said: Values) -> MakeFolder:
    owner, group = _owner(said)
    mode = _mode(said.get("permissions"), 0o755)
    return MakeFolder(path=said["path"], mode=mode, owner=owner, group=group)


def _owner(said: Values) -> tuple[str, str]:
    """`owner: a:b`, `owner_string: a:b`, or `owner` and `group`, each a name or a number."""
    words = said.get("owner_string") or said.get("owner", "root")
    owner, _, group = str(words).partition(":")
    return owner, group or str(said.get("group", ""))


def _user(name: str, said: Values) -> EnsureUser:
    uid = said.get("uid")
    return EnsureUser(
        name=name,
        password=said.get("passwd") or "",
        locked=said.get("lock_passwd") is True,
        groups=tuple(said.get("groups") or ()),
        primary_group=said.get("primary_group") or "",
        uid=None if uid is None else int(uid),
        full_name=said.get("gecos"),
        home=said.get("homedir") or "",
        make_home=said.get("no_create_home") is not True,
        system=said.get("system") is True,
        shell=said.get("shell") or "",
        keys=tuple(said.get("ssh_authorized_keys") or ()),
    )


def _mode(said: int | str | None, default: int) -> int:
    """YAML's 0644 has become a number already; text is octal."""
    if said is None:
        return default
    return said if isinstance(said, int) else int(said, 8)


def _text(value: Any) -> str:
    """A scalar as the file would hold it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number_text(value: Any) -> str:
    """As for the kernel, which knows no true and false."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _content(said: Values) -> bytes | None:
    """The file's bytes; None if they do not unpack as said, or are too many."""
    text = str(said.get("content") or "")
    encoding = said.get("encoding") or ""
    data = text.encode()
    try:
        if "b64" in encoding or "base64" in encoding:
            data = base64.b64decode(data, validate=False)
        if "gz" in encoding:
            data = _unpacked(data)
    except (binascii.Error, zlib.error, EOFError, OSError):
        return None
    return data


def _unpacked(data: bytes) -> bytes:
    import io

    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        content = packed.read(CONTENT_LIMIT + 1)
    if len(content) > CONTENT_LIMIT:
        raise EOFError
    return content
