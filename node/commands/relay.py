"""`kairos-node relay`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--listen", "port", type=click.IntRange(0, 65535), default=443, show_default=True)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default="/var/lib/kairos-relay",
    show_default=True,
    help="Its certificate, made there on first use.",
)
@click.option("--name", "names", multiple=True, help="A name or IP for the certificate.")
@click.option(
    "--access-token-file",
    type=click.Path(path_type=Path),
    help="Serve only who shows the token in this file (16 to 64 letters, digits, - or _).",
)
def relay(port: int, folder: Path, names: tuple[str, ...], access_token_file: Path | None) -> None:
    """Be a relay for machines and operators that cannot reach each other. A unit runs it.

    \b
    kairos-node relay --listen 443 --name relay.shop.example

    It pipes bytes that it cannot read. The config's key p2p.relay asks for it (flavour standard).
    """
    import socket

    from node.system import services
    from pairing.transport import relay_tls
    from pairing.transport.relay import read_access_token
    from pairing.transport.relay_server import Server

    Server(
        host="",
        port=port,
        certificate=relay_tls.self_signed(folder, (socket.gethostname(), *names)),
        access_token=read_access_token(access_token_file),
        listening=services.ready,
    ).run()
