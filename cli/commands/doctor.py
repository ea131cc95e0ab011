"""`kairos-fleet doctor`: what is missing or wrong on the operator's machine, and what to do."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from cli import options
from pairing import errors
from pairing.errors import ExitCode
from pairing.findings import Finding, Level, is_healthy, ok, to_json

HELP = """Find out what is missing or wrong on this machine.

\b
Examples:
  kairos-fleet doctor
  kairos-fleet doctor --relay relay.example
  kairos-fleet doctor --output json

Exit codes: 0 all that is needed is here (advice may be given), 9 something needed is missing.
"""
PROGRAM_BUILT = 1_790_000_000
"""Unix seconds; a clock before it is wrong."""
RELAY_SECONDS = 15.0


@click.command(help=HELP)
@click.option("--relay", multiple=True, metavar="HOST[:PORT]", help="A relay to try.")
@options.keys
@click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", show_default=True,
    help="Lines for people, or one JSON object.",
)  # fmt: skip
def doctor(relay: tuple[str, ...], key_folder: str | None, output: str) -> int:
    """See HELP."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python, _libp2p, _photos, _network, _clock, lambda: _keys(key_folder), _records,
        _images,
        *(lambda place=place: _relay(place) for place in relay),
    ]  # fmt: skip
    found = [finding for check in checks for finding in check()]
    if output == "json":
        click.echo(json.dumps(to_json(found), indent=2))
    else:
        _show(found)
    return int(ExitCode.DONE if is_healthy(found) else ExitCode.MISSING)


def _show(found: list[Finding]) -> None:
    from pairing.report import safe

    for finding in found:
        for line in finding.lines:
            click.echo(safe(line))


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Finding("python", Level.MISSING, version, "Use Python 3.11 to 3.13.")
        return
    yield ok("python", f"{version}, {options.version_text()}")


def _libp2p() -> Iterator[Finding]:
    from importlib import metadata

    from pairing.transport.p2p import warm_up

    try:
        warm_up()
        yield ok("libp2p", metadata.version("libp2p"))
    except errors.TransportMissing as wrong:
        yield Finding("libp2p", Level.MISSING, wrong.sentence, wrong.hint)
    except metadata.PackageNotFoundError:
        yield ok("libp2p", "there, version unknown")


def _photos() -> Iterator[Finding]:
    from pairing.qr.photo import HEIC_LIBRARY
    from pairing.qr.read import PhotoReader

    try:
        with PhotoReader() as reader:
            protection, grid = reader.protection(), reader.grid_protection()
    except errors.KnownError as wrong:
        yield Finding("photos", Level.MISSING, wrong.sentence, wrong.hint)
        return
    held = ", ".join(one for one in protection.held if one in grid.held) or "none"
    yield ok("photos", f"read in two processes of their own; limits: {held}")
    if importlib.util.find_spec(HEIC_LIBRARY):
        yield ok("heic", "photos of iPhones that were sent as files are read")
    else:
        hint = "For photos of iPhones that are sent as files: make install HEIC=1"
        yield Finding("heic", Level.ADVICE, "pillow-heif is not installed", hint)
    if protection.zbar:
        yield ok("zbar", "there: a second opinion on difficult photos")
    else:
        hint = "Install it for difficult photos: apt install libzbar0"
        yield Finding("zbar", Level.ADVICE, "libzbar is missing or too old", hint)


def _network() -> Iterator[Finding]:
    from pairing.transport.interfaces import interfaces

    usable = [i for i in interfaces() if not i.is_loopback and i.addresses]
    if not usable:
        yield Finding("network", Level.ADVICE, "no interface but loopback has an address")
    for interface in usable[:8]:
        addresses = ", ".join(map(str, interface.addresses[:3]))
        yield ok("network", f"{interface.name} {addresses}; mDNS looks for machines there")
    if proxy := os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        shown = proxy.rpartition("@")[2]
        yield ok("network", f"relays are reached through the proxy {shown}")


def _images() -> Iterator[Finding]:
    """Only who makes images needs this."""
    if shutil.which("mmdebstrap"):
        yield ok("images", "mmdebstrap is there: `kairos-fleet image build` can make them")
    else:
        hint = "Only for `kairos-fleet image build`: apt install mmdebstrap"
        yield Finding("images", Level.ADVICE, "mmdebstrap is not installed", hint)


def _clock() -> Iterator[Finding]:
    now = time.time()
    if now < PROGRAM_BUILT:
        shown = time.strftime("%Y-%m-%d", time.gmtime(now))
        hint = "Set it: machines take their first time from yours."
        yield Finding("clock", Level.MISSING, f"it says {shown}, which is past", hint)
    else:
        yield ok("clock", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now)))


def _keys(folder: str | None) -> Iterator[Finding]:
    from cli.keyring import Keyring

    ring = Keyring.at(folder)
    if not ring.folder.exists():
        yield ok("keys", f"none yet; made on the first run in {ring.folder}")
        return
    try:
        identity, recipients = ring.identity(), ring.recipients()
    except errors.KnownError as wrong:
        yield Finding("keys", Level.MISSING, wrong.sentence, wrong.hint)
        return
    from pairing import keys

    member = ", certified by its fleet" if identity.certificate else ""
    yield ok("keys", f"operator {keys.fingerprint(identity.key.public)}{member}")
    if len(recipients) == 1:
        hint = "Add one that lies elsewhere: kairos-fleet keys recipient --help"
        yield Finding("escrow", Level.ADVICE, "one escrow key only", hint)
    else:
        yield ok("escrow", f"recovery keys are sealed to {len(recipients)} keys")


def _records() -> Iterator[Finding]:
    from cli import folders

    try:
        folder = folders.data_folder()
        place = _nearest(folder)
        if not os.access(place, os.W_OK | os.X_OK):
            raise errors.StoreUnwritable(element=str(place))
        free = shutil.disk_usage(place).free
    except errors.KnownError as wrong:
        yield Finding("records", Level.MISSING, wrong.sentence, wrong.hint)
        return
    if free < 100 * 10**6:
        yield Finding(
            "records", Level.MISSING, f"{folder}: {free // 10**6} MB are free", "Make room."
        )
    else:
        yield ok("records", f"in {folder}")


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _relay(place: str) -> Iterator[Finding]:
    import trio

    from pairing.transport.relay_probe import probe

    try:
        seconds = trio.run(probe, place, RELAY_SECONDS)
        yield ok("relay", f"{place} answers in {1000 * seconds:.0f} ms")
    except errors.KnownError as wrong:
        yield Finding("relay", Level.MISSING, wrong.sentence, wrong.hint)
