"""From `--config` and `--set` to what one node receives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pairing import errors
from pairing.events import State

if TYPE_CHECKING:
    from pairing.config import Document, Problem
    from pairing.facts import Disk, Facts


def read(paths: Sequence[str], assignments: Sequence[str] = ()) -> tuple[Document, list[Problem]]:
    """The merged config and its warnings.

    Raises errors.ConfigFileMissing, errors.ConfigTooLarge, or errors.ConfigError with everything
    that is wrong in it.
    """
    from pairing.config.load import load_file
    from pairing.config.merge import merge, set_value
    from pairing.config.validate import require_valid

    document = merge([load_file(Path(path)) for path in paths])
    for assignment in assignments:
        document = set_value(document, assignment)
    return document, require_valid(document)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A config for one machine, and the disk that it means there."""

    document: Document
    disk: Disk


def fit(document: Document, facts: Facts, device: str = "") -> Fitted:
    """Fill in this machine's values, hold the result against its hardware, and plan as it will.

    So nothing is released that the machine would refuse. Raises errors.ConfigError,
    errors.ConfigNotForThisMachine, errors.DiskNotChosen.
    """
    from node.plan.install import InstallOptions, plan_install
    from pairing.config.machine import choose_disk, require_fit
    from pairing.config.merge import set_value
    from pairing.config.template import node_values, render
    from pairing.config.validate import require_valid

    if device:
        document = set_value(document, f"install.device={device}")
    document = render(document, node_values(facts))
    require_valid(document, rendered=True)
    require_fit(document, facts)
    disk = choose_disk(document, facts)
    plan_install(facts, document, InstallOptions(device=disk.path))
    return Fitted(document, disk)


Fetch = Callable[[str], tuple[str, ...]]


def fetch_github(name: str) -> tuple[str, ...]:
    """The ssh keys of a GitHub account."""
    from pairing.config.accounts import fetch_account_keys

    return fetch_account_keys(name)


def resolve(document: Document, fetch: Fetch = fetch_github) -> bytes:
    """The bytes that leave this machine: accounts' keys written out, passwords hashed.

    Blocks: fetches over the network. Raises errors.AccountKeysUnavailable, errors.ConfigError.
    """
    from pairing.config.accounts import accounts, with_account_keys
    from pairing.config.dump import dump
    from pairing.config.passwords import hash_passwords
    from pairing.config.validate import require_valid

    document = with_account_keys(document, {name: fetch(name) for name in accounts(document)})
    document = hash_passwords(document)
    require_valid(document, rendered=True)
    return dump(document)


def hostname(document: Document) -> str:
    """The host name, as far as the config says it."""
    value = document.get("hostname")
    return value if isinstance(value, str) else ""


def relays(document: Document) -> tuple[str, ...]:
    """Relays that the config names."""
    named = document.get("p2p", "relays")
    return tuple(map(str, named)) if isinstance(named, list) else ()


def flag(document: Document, name: str) -> bool:
    """`install.NAME`, false if it is not said."""
    return document.get("install", name) is True


def refuse_contradiction(reboot: bool, poweroff: bool) -> None:
    """Raises errors.UsageError."""
    if reboot and poweroff:
        raise errors.UsageError("Restart and switch off? Only one of them is possible.")


def refuse_endless_wait(document: Document, goal: State) -> None:
    """Raises errors.JoinsNothing if a machine with this config never gets there."""
    from pairing.config.rules import joins

    if goal in (State.JOINED, State.READY) and not joins(document):
        raise errors.JoinsNothing(f"So it would never be {goal.value}.")
