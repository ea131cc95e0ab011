"""`kairos-register`: from photos of new machines' screens to verdicts.

The order of work: read everything that can be wrong here (command line, config, policy, keys);
then for each source: photo -> token -> node -> hardware facts -> approval -> release -> verdict.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options, screen
from pairing import errors
from pairing.events import State

if TYPE_CHECKING:
    from cli.inventory import Origin
    from cli.kairos.run import KairosRun
    from cli.pairing_run import Run

GOALS = (State.PLANNED, State.WRITTEN, State.INSTALLED, State.JOINED, State.READY)
TIMEOUT_SECONDS = 120.0
Command = Callable[..., Any]

HELP = """Register new machines from photos of their screens.

\b
Examples:
  kairos-register --config shop.yaml photo.jpg
  kairos-register -c base.yaml -c north.yaml --set hostname=shop-17 photo.jpg
  kairos-register -c shop.yaml --dry-run photo.jpg   show it, change nothing
  kairos-register -c shop.yaml photos/               every photo in a folder
  kairos-register -c shop.yaml - < token.txt         a token or photo, piped
  kairos-register -c shop.yaml --approve rules.yaml --output jsonl photo.jpg
  kairos-register --kairos -c stock.yaml photo.png   a stock Kairos node

SOURCE is a photo (JPEG, PNG, WebP), a folder of photos, - for a photo or token on standard
input, or the token's text. Several are registered one after another (with --kairos at once);
of several photos of one machine the newest is used.

The machine's hardware is shown before anything of the config leaves. Exit codes: 0 done,
3 config invalid, 4 no readable code, 5 no machine in time, 6 refused or not authentic, 7 the
machine failed, 8 some of several failed, 11 not approved, 12 no verdict in time, 13 it is locked;
with --kairos also 10 delivered, not acknowledged.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command line as it was typed."""

    source: tuple[str, ...]
    config_files: tuple[str, ...]
    assignments: tuple[str, ...]
    device: str
    reboot: bool
    poweroff: bool
    wait: str | None
    approve: str
    confirm_words: bool
    label: tuple[str, ...]
    relay: tuple[str, ...]
    relay_ca: str | None
    relay_token_file: str | None
    ek_ca: str | None
    key_folder: str | None
    timeout: float
    dry_run: bool
    output: str
    loopback: bool
    kairos: bool = False
    bootstrap: tuple[str, ...] = ()
    allow_secrets: bool = False


def registering(command: Command) -> Command:
    """The options of a registration over our own protocol, as `Asked` has them."""
    return _with(_OPTIONS, command)


def kairos(command: Command) -> Command:
    """Those of Kairos' own protocol."""
    return _with(_KAIROS_OPTIONS, command)


def _with(chosen: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(chosen):
        command = option(command)
    return command


_OPTIONS: tuple[Callable[[Command], Command], ...] = (
    options.config,
    options.assignments,
    click.option(
        "--device", default="", metavar="DISK", help="The disk: /dev/disk/by-id/... or path."
    ),
    click.option("--reboot", is_flag=True, help="Restart the machine when its disk is written."),
    click.option("--poweroff", is_flag=True, help="Switch it off instead; waits until `written`."),
    click.option(
        "--wait",
        type=click.Choice([goal.value for goal in GOALS]),
        help="Until when to stay. From `installed` on the machine restarts.  [default: installed]",
    ),
    click.option(
        "--approve",
        default="auto",
        show_default=True,
        metavar="auto|ask|yes|FILE",
        help="Who approves. auto: the config fits and the one disk is empty; FILE: a policy's"
        " rules.",
    ),
    click.option(
        "--confirm-words", is_flag=True, help="Compare three words with the node's screen."
    ),
    click.option(
        "--label", multiple=True, metavar="KEY=VALUE", help="Label the machine: region=north."
    ),
    click.option(
        "--relay", multiple=True, metavar="HOST[:PORT]", help="Where to meet the machine."
    ),
    click.option("--relay-ca", metavar="FILE", help="CA certificates (PEM) for relays."),
    click.option("--relay-token-file", metavar="FILE", help="Access token of a closed relay."),
    click.option(
        "--ek-ca",
        metavar="FILE",
        help="CA certificates (PEM) of TPM makers: only their TPMs will do.",
    ),
    options.keys,
    click.option(
        "--timeout",
        type=click.FloatRange(1, 86400),
        default=TIMEOUT_SECONDS,
        show_default=True,
        metavar="SECONDS",
        help="For finding the machine, and for its silence.",
    ),
    click.option("--dry-run", is_flag=True, help="Show hardware and plan; release nothing."),
    click.option("--loopback", is_flag=True, help="Accept codes of this very machine (trials)."),
    options.output,
    options.log_level,
)
_KAIROS_OPTIONS: tuple[Callable[[Command], Command], ...] = (
    click.option(
        "--kairos",
        is_flag=True,
        help="Speak Kairos' own protocol to a stock Kairos node. Weaker: who has the photo can"
        " read the config and take the machine's place.",
    ),
    click.option(
        "--bootstrap",
        multiple=True,
        metavar="MULTIADDR|public",
        help="With --kairos: look in a DHT too, from this peer on; `public` for the public one.",
    ),
    click.option(
        "--allow-secrets",
        is_flag=True,
        help="With --kairos: send a config with passwords, tokens or private keys.",
    ),
)


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", nargs=-1, metavar="SOURCE...", type=click.Path())
@registering
@kairos
@options.version
def command(**given: object) -> int:
    """See HELP."""
    return register(Asked(**given))  # type: ignore[arg-type]


def register(asked: Asked) -> int:
    """Register every source; returns the exit code. Raises errors.KnownError before the first."""
    if not asked.source:
        raise errors.UsageError("Name a photo, a folder of photos, a token, or -.")
    if not asked.config_files:
        raise errors.UsageError("Name the config: --config FILE.")
    run = prepare_kairos(asked) if asked.kairos else prepare(asked)
    with run:
        codes = run.all()
    return run.close(screen.exit_code(codes))


def prepare(asked: Asked) -> Run:
    """Read everything that can be wrong on this side. Nothing has been sent yet."""
    from cli import approval, configs, labels, sources
    from cli.desk import Order
    from cli.endorsement import read_makers
    from cli.errand import approve_first_start
    from cli.keyring import Keyring
    from cli.pairing_run import Run, libp2p
    from pairing.config.template import require_values

    refuse_options_of_kairos(asked)
    document, warnings = configs.read(asked.config_files, asked.assignments)
    require_values(document)
    poweroff = asked.poweroff or configs.flag(document, "poweroff")
    goal = goal_of(asked.wait, poweroff)
    reboot = asked.reboot or configs.flag(document, "reboot") or goal in GOALS[2:]
    configs.refuse_contradiction(reboot, poweroff)
    configs.refuse_endless_wait(document, goal)
    relays = tuple(dict.fromkeys((*asked.relay, *configs.relays(document))))
    check_relays(relays)
    keyring = Keyring.at(asked.key_folder)
    order = Order(
        document=document,
        approval=approval.read(asked.approve),
        recipients=keyring.recipients(),
        device=asked.device,
        relays=relays,
        reboot=reboot,
        poweroff=poweroff,
        confirm_words=asked.confirm_words,
        dry_run=asked.dry_run,
        origin=_origin(asked, goal),
        labels=labels.parse_all(asked.label),
        ek_makers=read_makers(asked.ek_ca),
    )
    run = Run(
        order=order,
        goal=goal,
        identity=keyring.identity(),
        sources=sources.sources(asked.source),
        timeout=asked.timeout,
        loopback=asked.loopback,
        output=asked.output,
        warnings=warnings,
        network=libp2p(_path(asked.relay_ca), _path(asked.relay_token_file)),
    )
    run.approve_start = partial(approve_first_start, run, keyring)
    return run


def prepare_kairos(asked: Asked) -> KairosRun:
    """The same for Kairos' own protocol."""
    from cli import sources
    from cli.kairos import order
    from cli.kairos.notes import KairosNotes
    from cli.kairos.run import KairosRun
    from cli.keyring import Keyring
    from cli.records import Records
    from pairing.transport.p2p import EdgeVpn

    read = order.read(asked)
    return KairosRun(
        order=read,
        sources=sources.sources(asked.source),
        timeout=asked.timeout,
        network=EdgeVpn(bootstrap=asked.bootstrap),
        notes=KairosNotes(
            Records(), Keyring.at(asked.key_folder).operator(), _origin(asked, State.APPROVED)
        ),
        output=asked.output,
        loopback=asked.loopback,
        dry_run=asked.dry_run,
    )


def refuse_options_of_kairos(asked: Asked) -> None:
    """Raises errors.UsageError for options that only mean something with `--kairos`."""
    given = (("--bootstrap", bool(asked.bootstrap)), ("--allow-secrets", asked.allow_secrets))
    for option, said in given:
        if said:
            raise errors.UsageError("It belongs to --kairos.", element=option)


def _origin(asked: Asked, goal: State) -> Origin:
    """Paths and the names of keys: a value of --set may be a secret."""
    from cli.inventory import Origin

    files = tuple(str(Path(name).absolute()) for name in asked.config_files)
    assigned = tuple(dict.fromkeys(text.partition("=")[0] for text in asked.assignments))
    return Origin(files=files, assigned=assigned, goal=goal)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def goal_of(wait: str | None, poweroff: bool) -> State:
    """The state to wait for. Raises errors.UsageError if a machine that is off should reach it."""
    if wait is None:
        return State.WRITTEN if poweroff else State.INSTALLED
    goal = State(wait)
    if poweroff and goal in GOALS[2:]:
        raise errors.UsageError(f"A machine that is switched off is never {goal.value}.")
    return goal


def check_relays(relays: Sequence[str]) -> None:
    """Raises errors.RelayAddressInvalid."""
    from pairing.transport.relay import relay_id

    for relay in relays:
        relay_id(relay)


def main() -> None:
    """The program."""
    try:
        screen.run(lambda: command, "kairos-register")
    except SystemExit as end:
        if threading.active_count() > 1 and isinstance(end.code, int):
            # libp2p is still being imported beside us: the interpreter's end might wait for it.
            os._exit(end.code)
        raise


if __name__ == "__main__":
    main()
