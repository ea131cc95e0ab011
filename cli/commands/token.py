"""`kairos-fleet token`: what a token says, without its secret; a new network token for Kairos."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pairing import errors

if TYPE_CHECKING:
    from pairing.edgevpn.nettoken import NativePart, NetworkToken

HELP = """Explain a token, or make a network token for a cluster of Kairos.

\b
Examples:
  kairos-fleet token - < token.txt
  kairos-fleet decode photo.jpg | kairos-fleet token -
  kairos-fleet token new --kairos --config --write cluster.yaml

Without a further word a token is explained: `show`.
"""

SHOW_HELP = """Explain a token: which machine, where it waits. The secret in it is not shown.

\b
Examples:
  kairos-fleet token show - < token.txt
  kairos-fleet decode photo.jpg | kairos-fleet token -
  kairos-fleet token show --output json - < token.txt

Exit codes: 0 a valid token, 4 not one.
"""

NEW_HELP = """Make a network token for a cluster of Kairos, or a config that has one.

\b
Examples:
  kairos-fleet token new --kairos --write net.token
  kairos-fleet token new --kairos --config --write cluster.yaml
  kairos-fleet token new --kairos --rotate 86400 | age -r age1... > net.age

All nodes of one cluster get the same one, as p2p.network_token. It stays valid until you replace it
on every node, and it opens the whole network: its kubeconfig, its join tokens, every role. Never
photograph it, never let a screen show it: an image whose own config has a network token draws that
very token as its code. A machine that is to be registered makes its own, for one pairing.

Exit codes: 0 done, 2 what to make is not clear, or the file is there already.
"""

NETWORK_MEANING = "whoever has it is in that network"
SHORTEST_ROTATION, LONGEST_ROTATION = 60, 366 * 86400


class _Tokens(click.Group):
    """A group in which `token TEXT` means `token show TEXT`, as before it was one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.commands, "-h", "--help"}
        return super().parse_args(ctx, args if not args or args[0] in known else ["show", *args])


@click.group(cls=_Tokens, help=HELP)
def token() -> None:
    """See HELP."""


@token.command(help=SHOW_HELP)
@click.argument("text", metavar="TOKEN|-")
@click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", show_default=True,
    help="Lines for people, or one JSON object.",
)  # fmt: skip
def show(text: str, output: str) -> None:
    """See SHOW_HELP."""
    from pairing import peertoken
    from pairing.edgevpn import nettoken

    if text == "-":
        text = _first_line(sys.stdin.buffer.read(64 * 1024))
    elif text.startswith(peertoken.PREFIX) or nettoken.looks_like(text):
        click.echo("warning: other users of this machine can see arguments; better use -", err=True)
    kairos = nettoken.looks_like(text)
    said = _network(nettoken.parse(text)) if kairos else _native(text)
    if output == "json":
        click.echo(json.dumps({"schema": 1, **said}, indent=2))
        return
    for name, value in said.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{name:<12} {shown or 'none'}")


def _native(text: str) -> dict[str, Any]:
    from pairing import keys, peertoken

    found = peertoken.parse(text, loopback=True)
    return {
        "name": found.name,
        "fingerprint": keys.fingerprint(found.key),
        "words": " ".join(keys.fingerprint_words(found.key)),
        "addresses": [str(address) for address in found.addresses],
        "relay": found.relay.hex(),
        "trust": "O1" if found.signed else "O0",
    }


def _network(found: NetworkToken) -> dict[str, Any]:
    from pairing import keys

    said: dict[str, Any] = {
        "kind": "Kairos",
        "rotates": f"every {found.crypto.interval} s" if found.rotates else "never",
        "meaning": f"a network's: {NETWORK_MEANING}"
        if found.rotates
        else f"a pairing, or a network's: then {NETWORK_MEANING}",
    }
    if (ours := found.native) is not None:
        said |= {"kind": "Kairos and ours", "meaning": "a pairing: by our protocol, or --kairos"}
        said |= {"fingerprint": keys.fingerprint(ours.key), "addresses": _at(ours)}
    return said


def _at(ours: NativePart) -> list[str]:
    return [str(ours.address)] if ours.address else []


@token.command(help=NEW_HELP)
@click.option("--kairos", is_flag=True, help="For a cluster of Kairos (there is no other kind).")
@click.option(
    "--rotate", type=click.IntRange(SHORTEST_ROTATION, LONGEST_ROTATION), metavar="SECONDS",
    help="Change the names and keys that follow from it so often; every node then needs the right "
    "time.  [default: never]",
)  # fmt: skip
@click.option("--config", "whole", is_flag=True, help="Write a #cloud-config that has it.")
@click.option(
    "--write", "path", type=click.Path(path_type=Path), metavar="FILE",
    help="A new file, for its owner alone.  [default: standard output, unless a terminal]",
)  # fmt: skip
def new(kairos: bool, rotate: int | None, whole: bool, path: Path | None) -> None:
    """See NEW_HELP."""
    import secrets

    from cli.secretfile import put_out
    from pairing.edgevpn import nettoken

    if not kairos:
        raise errors.UsageError(
            "A machine's own token is made by the machine, anew at every start. "
            "--kairos makes the network token of a cluster of Kairos."
        )
    made = nettoken.fresh(secrets.token_bytes, rotate_seconds=rotate, full=True)
    text = nettoken.to_full_text(made)
    if whole:
        text = f'#cloud-config\n\np2p:\n  network_token: "{text}"'
    put_out(f"{text}\n".encode(), path, "--write")
    click.echo(f"this token is long-lived: {NETWORK_MEANING}; never photograph it", err=True)


def _first_line(data: bytes) -> str:
    """`decode` prints file names before tokens: the token is what follows the last blank."""
    try:
        lines = data.decode("ascii").strip().splitlines()
    except UnicodeDecodeError:
        raise errors.TokenInvalid("(standard input is no text)") from None
    if not lines:
        raise errors.TokenInvalid("(standard input is empty)")
    return lines[0].strip()
