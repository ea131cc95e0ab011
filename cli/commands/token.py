"""`kairos-fleet token`: what a token says, without its secret."""

from __future__ import annotations

import json
import sys

import click

from pairing import errors

HELP = """Explain a token: which machine, where it waits. The secret in it is not shown.

\b
Examples:
  kairos-fleet token - < token.txt
  kairos-fleet decode photo.jpg | kairos-fleet token -
  kairos-fleet token --output json - < token.txt

Exit codes: 0 a valid token, 4 not one.
"""


@click.command(help=HELP)
@click.argument("text", metavar="TOKEN|-")
@click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", show_default=True,
    help="Lines for people, or one JSON object.",
)  # fmt: skip
def token(text: str, output: str) -> None:
    """See HELP."""
    from pairing import keys, peertoken

    if text == "-":
        text = _first_line(sys.stdin.buffer.read(64 * 1024))
    elif text.startswith(peertoken.PREFIX):
        click.echo("warning: other users of this machine can see arguments; better use -", err=True)
    found = peertoken.parse(text, loopback=True)
    said = {
        "name": found.name,
        "fingerprint": keys.fingerprint(found.key),
        "words": " ".join(keys.fingerprint_words(found.key)),
        "addresses": [str(address) for address in found.addresses],
        "relay": found.relay.hex(),
        "trust": "O1" if found.signed else "O0",
    }
    if output == "json":
        click.echo(json.dumps({"schema": 1, **said}, indent=2))
        return
    for name, value in said.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{name:<12} {shown or 'none'}")


def _first_line(data: bytes) -> str:
    """`decode` prints file names before tokens: the token is what follows the last blank."""
    try:
        lines = data.decode("ascii").strip().splitlines()
    except UnicodeDecodeError:
        raise errors.TokenInvalid("(standard input is no text)") from None
    if not lines:
        raise errors.TokenInvalid("(standard input is empty)")
    return lines[0].strip()
