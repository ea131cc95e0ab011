"""`kairos-fleet keys`: who we are to nodes, and who can open their recovery keys."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options
from pairing import errors

if TYPE_CHECKING:
    from cli.keyring import Keyring

HELP = """Make, show and certify keys.

\b
Examples:
  kairos-fleet keys init                operator and escrow key, if missing
  kairos-fleet keys show                fingerprints and public keys
  kairos-fleet keys fleet-init          found a fleet: its key signs stations
  kairos-fleet keys certify --name north PUBLIC-KEY > north.json
  kairos-fleet keys accept north.json   at that station: use the certificate
  kairos-fleet keys export --fleet      the key that an image pins
  kairos-fleet keys recipient --name safe PUBLIC-KEY    another escrow key

Keep copies of escrow.pem and fleet.pem where this machine's fire does not reach. Whoever holds
escrow.pem can open the disks whose recovery keys were sealed to it.
"""


@click.group(help=HELP)
def keys() -> None:
    """See HELP."""


_output = click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", show_default=True,
    help="Lines for people, or one JSON object.",
)  # fmt: skip


@keys.command()
@options.keys
def init(key_folder: str | None) -> None:
    """Make the operator key and the escrow key, where they are missing."""
    ring = _ring(key_folder)
    ring.identity()
    ring.escrow()
    click.echo(f"operator key and escrow key are in {ring.folder}", err=True)


@keys.command()
@options.keys
@_output
def show(key_folder: str | None, output: str) -> None:
    """Show fingerprints and public keys. Private halves are never shown."""
    body = _public(_ring(key_folder))
    if output == "json":
        click.echo(json.dumps({"schema": 1, **body}, indent=2))
        return
    for name, said in body.items():
        for item in said if isinstance(said, list) else [said]:
            if item:
                _line(name, item)


def _line(name: str, item: dict[str, Any]) -> None:
    from pairing.report import safe

    extra = ", ".join(f"{k} {v}" for k, v in item.items() if k not in ("fingerprint", "public"))
    click.echo(safe(f"{name:<12} {item['fingerprint']}  {item['public']}  {extra}").rstrip())


@keys.command(name="fleet-init")
@options.keys
def fleet_init(key_folder: str | None) -> None:
    """Make a fleet key and certify this station with it."""
    ring = _ring(key_folder)
    ring.make_fleet()
    from cli.keyring import certificate_text

    own = ring.certify(ring.operator().public, "founder")
    ring.keep_certificate(certificate_text(own).encode(), element="fleet key")
    click.echo(f"fleet key made in {ring.folder}; this station is certified", err=True)
    click.echo("hint: pin it in images: kairos-fleet keys export --fleet", err=True)


@keys.command()
@click.argument("public", metavar="PUBLIC-KEY")
@click.option("--name", required=True, help="The station's name, shown to other operators.")
@options.keys
def certify(public: str, name: str, key_folder: str | None) -> None:
    """Sign a station's operator key into the fleet; prints its certificate."""
    from cli.keyring import certificate_text, public_from

    if not 0 < len(name) <= 100 or not name.isprintable():
        raise errors.UsageError("A name has 1 to 100 printable characters.")
    click.echo(certificate_text(_ring(key_folder).certify(public_from(public), name)), nl=False)


@keys.command()
@click.argument("certificate", metavar="FILE|-")
@options.keys
def accept(certificate: str, key_folder: str | None) -> None:
    """Use a certificate that the fleet's holder made for this station."""
    try:
        text = sys.stdin.buffer.read(64 * 1024) if certificate == "-" else _bytes(certificate)
    except OSError as wrong:
        raise errors.UsageError(f"({wrong.strerror})", element=certificate) from None
    found = _ring(key_folder).keep_certificate(text, element=certificate)
    click.echo(f"this station is number {found.sequence} of its fleet", err=True)


def _bytes(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(64 * 1024)


@keys.command()
@click.option("--fleet", "what", flag_value="fleet", help="The fleet's, for an image's settings.")
@click.option("--escrow", "what", flag_value="escrow", help="The escrow key's.")
@click.option("--operator", "what", flag_value="operator", help="The operator's, to be certified.")
@options.keys
def export(what: str | None, key_folder: str | None) -> None:
    """Print one public key, for a pipe."""
    if what is None:
        raise errors.UsageError("Say which one: --fleet, --escrow or --operator.")
    from pairing.protocol.wire import to_base64

    ring = _ring(key_folder)
    public = {
        "fleet": lambda: ring.fleet().public,
        "escrow": lambda: ring.escrow().public,
        "operator": lambda: ring.operator().public,
    }[what]()
    click.echo(to_base64(public))


@keys.command()
@click.argument("public", metavar="PUBLIC-KEY")
@click.option("--name", default="", help="Whose it is.")
@options.keys
def recipient(public: str, name: str, key_folder: str | None) -> None:
    """Seal recovery keys of new machines to one more escrow key."""
    from cli.keyring import public_from

    if len(name) > 100 or not name.isprintable():
        raise errors.UsageError("A name has at most 100 printable characters.")
    ring = _ring(key_folder)
    ring.add_recipient(public_from(public), name)
    click.echo(f"recovery keys are sealed to {len(ring.recipients())} keys from now on", err=True)


def _ring(folder: str | None) -> Keyring:
    from cli.keyring import Keyring

    return Keyring.at(folder)


def _public(ring: Keyring) -> dict[str, Any]:
    from pairing import keys as pairing_keys
    from pairing.protocol.wire import to_base64

    def said(public: bytes, **more: object) -> dict[str, Any]:
        shown = pairing_keys.fingerprint(public)
        return {"fingerprint": shown, "public": to_base64(public), **more}

    certificate = ring.certificate()
    try:
        fleet = said(ring.fleet().public)
    except errors.KeyMissing:
        fleet = {}
    return {
        "operator": said(ring.operator().public),
        "escrow": said(ring.escrow().public),
        "fleet": fleet,
        "station": (
            said(certificate.fleet, number=certificate.sequence, name=certificate.name)
            if certificate
            else {}
        ),
        "recipients": [said(key, name=name) for key, name in ring.others().items()],
    }
