"""`kairos-fleet relay`: where nodes and operators meet that cannot reach each other."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pairing import errors

if TYPE_CHECKING:
    from pairing.transport.relay_tls import Certificate

_EXAMPLES = """\b
Examples:
  kairos-fleet relay --self-signed /etc/kairos-relay
  kairos-fleet relay --certificate fullchain.pem --private-key privkey.pem
  kairos-fleet relay --listen 127.0.0.1:7000 --plain --proxy-protocol

Nodes and operators connect out to this relay (port 443 as a rule) and it pipes bytes between
them that it cannot read. It keeps nothing on disk and may be restarted at any time: SIGTERM ends
it within 5 seconds, the nodes come back by themselves. SIGHUP reads the certificate again.
"""


@click.command(help=_EXAMPLES)
@click.option(
    "--listen",
    default="443",
    metavar="[HOST:]PORT",
    show_default=True,
    help="Without HOST on every address of this machine.",
)
@click.option("--certificate", type=click.Path(path_type=Path), help="Certificate chain, PEM.")
@click.option("--private-key", type=click.Path(path_type=Path), help="Its private key, PEM.")
@click.option(
    "--self-signed",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Make a certificate there on first use, and print the address that pins it.",
)
@click.option("--name", multiple=True, help="A name or IP for the self-signed certificate.")
@click.option("--plain", is_flag=True, help="No TLS: for a reverse proxy on this machine.")
@click.option("--proxy-protocol", is_flag=True, help="Demand and believe PROXY lines, version 1.")
@click.option(
    "--access-token-file",
    type=click.Path(path_type=Path),
    help="Serve only who shows the token in this file (16 to 64 letters, digits, - or _).",
)
@click.option(
    "--waiting",
    default=6000,
    show_default=True,
    help="Connections that may wait; a node has up to three.",
)
@click.option("--waiting-per-ip", default=600, show_default=True, help="The same per network.")
@click.option(
    "--connections-per-minute",
    default=120,
    show_default=True,
    help="New connections per network; six times as many at once.",
)
def relay(
    listen: str,
    certificate: Path | None,
    private_key: Path | None,
    self_signed: Path | None,
    name: tuple[str, ...],
    plain: bool,
    proxy_protocol: bool,
    access_token_file: Path | None,
    waiting: int,
    waiting_per_ip: int,
    connections_per_minute: int,
) -> None:
    from pairing.transport.relay import read_access_token
    from pairing.transport.relay_protocol import Limits
    from pairing.transport.relay_server import Server

    host, port = _place(listen)
    own = _certificate(certificate, private_key, self_signed, name, plain)
    if plain and not _is_loopback(host):
        raise errors.UsageError("--plain listens on this machine only, such as 127.0.0.1:7000.")
    limits = Limits(
        waiting=waiting,
        waiting_per_ip=waiting_per_ip,
        connections_per_minute=connections_per_minute,
        connections_burst=6 * connections_per_minute,
    )
    Server(
        host=host,
        port=port,
        certificate=own,
        limits=limits,
        access_token=read_access_token(access_token_file),
        proxy_protocol=proxy_protocol,
    ).run()


def _place(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise errors.UsageError("--listen wants a port, or HOST:PORT such as [::1]:8443.")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _certificate(
    chain: Path | None, key: Path | None, folder: Path | None, names: tuple[str, ...], plain: bool
) -> Certificate | None:
    from pairing.transport import relay_tls

    if [bool(chain and key), bool(folder), plain].count(True) != 1 or bool(chain) != bool(key):
        raise errors.UsageError(
            "Give either --certificate and --private-key, or --self-signed, or --plain."
        )
    if plain:
        return None
    if folder:
        return relay_tls.self_signed(folder, names or (socket.getfqdn(),))
    assert chain is not None
    assert key is not None
    return relay_tls.Certificate(chain, key)
