"""`kairos-fleet rescue`: a terminal on a machine that needs repair."""

from __future__ import annotations

from pathlib import Path

import click

from cli import options
from pairing import errors

HELP = """Repair a machine: a terminal on it, over the same way as a registration.

\b
Examples:
  kairos-fleet rescue photo.jpg               a photo of its recovery screen
  kairos-fleet rescue - < token.txt
  kairos-fleet rescue --minutes 10 photo.jpg
  echo 'kairos-node state' | kairos-fleet rescue photo.jpg
  kairos-fleet rescue ABCD-EFGH-IJKL-MNOP     a locked machine, by its key
  kairos-fleet rescue --kairos photo.jpg      a stock machine of Kairos

SOURCE is as for kairos-register, or the fingerprint of a machine that this station installed and
that is locked. The machine must run from its stick or its recovery system, or be
locked. It opens a terminal to its owner only: a station of the fleet that its image pins, or the
operator (or fleet) that installed it. The session is root's; it is recorded on both ends and shown
on the machine's screen. Control sequences by which a machine could take over your terminal are
left out.

With --kairos it is the ssh of a stock machine, found with what its recovery code says. That code
alone is a root shell for whoever has the photo, until the machine is started again.

Exit codes: 0 ended, 4 no readable code, 5 no machine in time, 6 refused, 7 cut off, or out of time.
"""


@click.command(help=HELP)
@click.argument("source", metavar="SOURCE")
@click.option(
    "--minutes", type=click.IntRange(1, 1440), metavar="N",
    help="End it after so long.  [default: what the machine grants, 30]",
)  # fmt: skip
@click.option("--relay", multiple=True, metavar="HOST[:PORT]", help="Where to meet the machine.")
@click.option("--relay-ca", metavar="FILE", help="CA certificates (PEM) for relays.")
@click.option("--relay-token-file", metavar="FILE", help="Access token of a closed relay.")
@options.keys
@click.option(
    "--timeout", type=click.FloatRange(1, 86400), default=120.0, show_default=True,
    metavar="SECONDS", help="For finding the machine.",
)  # fmt: skip
@click.option("--record", metavar="FILE", help="Record here (asciicast).  [default: data folder]")
@click.option(
    "--unfiltered", is_flag=True, help="Show the machine's control sequences as they are."
)
@click.option(
    "--kairos", is_flag=True, help="A stock Kairos machine: Kairos' own protocol, and its weakness."
)
@click.option(
    "--bootstrap", multiple=True, metavar="MULTIADDR",
    help="With --kairos: look in the DHT that this peer knows; `public` for the public one.",
)  # fmt: skip
@click.option("--loopback", is_flag=True, help="Accept codes of this very machine (trials).")
def rescue(
    source: str,
    minutes: int | None,
    relay: tuple[str, ...],
    relay_ca: str | None,
    relay_token_file: str | None,
    key_folder: str | None,
    timeout: float,
    record: str | None,
    unfiltered: bool,
    kairos: bool,
    bootstrap: tuple[str, ...],
    loopback: bool,
) -> int:
    """See HELP."""
    if kairos:
        if relay or relay_ca or relay_token_file:
            raise errors.UsageError("Kairos' own protocol knows no relays of ours.")
        return _kairos(source, key_folder, bootstrap, minutes, timeout, record, unfiltered)
    if bootstrap:
        raise errors.UsageError("--bootstrap is for --kairos; our own way is --relay.")
    from cli import sources
    from cli.keyring import Keyring
    from cli.pairing_run import libp2p
    from cli.register import check_relays
    from cli.rescue_run import RescueRun
    from cli.rescue_way import FINGERPRINT

    named = FINGERPRINT.fullmatch(source)
    found = [] if named else sources.sources([source])
    if not named and len(found) != 1:
        raise errors.UsageError("Repair one machine at a time: name one photo.")
    check_relays(relay)
    run = RescueRun(
        source=source if named else found[0],
        identity=Keyring.at(key_folder).identity(),
        seconds=(minutes or 0) * 60,
        relays=relay,
        timeout=timeout,
        record=Path(record) if record else None,
        unfiltered=unfiltered,
        loopback=loopback,
        network=libp2p(
            Path(relay_ca) if relay_ca else None,
            Path(relay_token_file) if relay_token_file else None,
        ),
    )
    return run.all()


def _kairos(
    source: str,
    key_folder: str | None,
    bootstrap: tuple[str, ...],
    minutes: int | None,
    timeout: float,
    record: str | None,
    unfiltered: bool,
) -> int:
    from cli import sources
    from cli.keyring import Keyring
    from cli.mesh_run import edgevpn
    from cli.rescue_kairos import DEFAULT_MINUTES, KairosRescue

    found = sources.sources([source])
    if len(found) != 1:
        raise errors.UsageError("Repair one machine at a time: name one photo.")
    run = KairosRescue(
        source=found[0],
        identity=Keyring.at(key_folder).identity(),
        network=edgevpn(bootstrap, mdns=True),
        minutes=minutes or DEFAULT_MINUTES,
        timeout=timeout,
        record=Path(record) if record else None,
        unfiltered=unfiltered,
    )
    return run.all()
