"""`kairos-fleet recover`: use a machine's escrowed recovery key."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options
from pairing import errors

if TYPE_CHECKING:
    from cli.errand import NodeErrand
    from cli.sources import Source
    from pairing.peertoken import Token

HELP = """Open a locked machine with its escrowed recovery key, and change its keys.

\b
Examples:
  kairos-fleet recover shop-17             it is locked: open it
  kairos-fleet recover shop-17 --rotate    and give it a new recovery key
  kairos-fleet recover shop-17 --reenroll  and bind it to its TPM as that is
  kairos-fleet recover photo.jpg           by the code on its screen
  kairos-fleet recover shop-17 --to FILE   the key, for a repair session

NODE is a fingerprint, a host name or a serial number. The key is sent to the machine, sealed; it is
shown only with --show on a terminal, or written with --to. Each opening is noted in the audit log
before the key is used. Whoever has the disk of a locked machine can pretend to be that machine:
before you open it, ask it (kairos-fleet nodes ask) and compare the words that this shows with those
on its screen, by somebody in the shop. Rotate the key afterwards.

Exit codes: 0 done, 2 no such machine, 5 no machine in time, 6 refused, 13 it stays locked.
"""
_Command = Callable[..., Any]


def finding(command: _Command) -> _Command:
    """Options for finding a registered machine."""
    for option in reversed(
        (
            click.option(
                "--address", multiple=True, metavar="HOST[:PORT]", help="Where it is, if known."
            ),
            click.option(
                "--relay", multiple=True, metavar="HOST[:PORT]", help="Where to meet the machine."
            ),
            click.option("--relay-ca", metavar="FILE", help="CA certificates (PEM) for relays."),
            click.option(
                "--relay-token-file", metavar="FILE", help="Access token of a closed relay."
            ),
            click.option(
                "--timeout", type=click.FloatRange(1, 86400), default=120.0, show_default=True,
                metavar="SECONDS", help="For finding the machine.",
            ),
            click.option(
                "--loopback", is_flag=True, help="Accept codes of this very machine (trials)."
            ),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@click.command(help=HELP)
@click.argument("node", metavar="NODE|PHOTO")
@click.option("--rotate", is_flag=True, help="Give it a new recovery key; the old one is wiped.")
@click.option("--reenroll", is_flag=True, help="Bind it to its TPM as that is now.")
@click.option("--show", is_flag=True, help="Show the key here; ask the machine nothing.")
@click.option("--to", metavar="FILE", help="Write the key here (0600); ask the machine nothing.")
@finding
@options.keys
def recover(
    node: str,
    rotate: bool,
    reenroll: bool,
    show: bool,
    to: str | None,
    key_folder: str | None,
    **where: object,
) -> int:
    """See HELP."""
    from pairing.protocol.requests import Task

    if (show or to) and (rotate or reenroll):
        raise errors.UsageError("A key is shown, or the machine is told to change it: not both.")
    errand = named(node, key_folder, where)
    if show or to:
        _hand_over(errand, to)
        return 0
    tasks = [task for asked, task in ((reenroll, Task.REENROLL), (rotate, Task.ROTATE)) if asked]
    errand.run(partial(errand.recover, tasks))
    if not rotate:
        _advise(errand)
    return 0


def _hand_over(errand: NodeErrand, to: str | None) -> None:
    """The key itself, to a person: on a terminal, or in a new file of its own."""
    from cli import folders

    if to is None and not sys.stdout.isatty():
        raise errors.UsageError("--show needs a terminal; write a file with --to.")
    # Before the key is opened, which is noted for ever.
    if to is not None and os.path.lexists(to):
        raise errors.UsageError("There is such a file already: name a new one.", element=to)
    key = errand.recovery_key("to a file" if to else "shown")
    if to is None:
        click.echo(key.decode("ascii"))
    else:
        try:
            folders.write_private(Path(to), key + b"\n", replace=False)
        except FileExistsError:
            raise errors.StoreUnwritable("It was made just now.", element=to) from None
        errand.talk.say("key", f"in {to}, for you alone")
    _advise(errand)


def _advise(errand: NodeErrand) -> None:
    name = errand.node.hostname or errand.node.node
    errand.talk.warn(
        f"the recovery key was opened: give it a new one (kairos-fleet recover {name} --rotate)"
    )


def named(name: str, key_folder: str | None, where: Mapping[str, Any]) -> NodeErrand:
    """An errand to the machine of this name, or of the code in this photo.

    Raises errors.NodeUnknown, errors.NodeRetired, errors.PhotoError.
    """
    from cli import nodes
    from cli.errand import NodeErrand
    from cli.keyring import Keyring
    from cli.pairing_run import libp2p
    from cli.records import Records
    from cli.register import check_relays

    check_relays(where["relay"])
    records, addresses = Records(), [_address(text) for text in where["address"]]
    if Path(name).exists() or name == "-" or name.startswith("EP1:"):
        token = _token(name, bool(where["loopback"]))
        node = nodes.by_key(records, token.key)
        addresses = [*token.addresses, *addresses]
    else:
        node = nodes.find(records, name)
    nodes.require_in_use(node)
    return NodeErrand(
        node=node,
        keyring=Keyring.at(key_folder),
        records=records,
        addresses=addresses,
        relays=where["relay"],
        timeout=where["timeout"],
        network=libp2p(_path(where["relay_ca"]), _path(where["relay_token_file"])),
    )


def _token(name: str, loopback: bool) -> Token:
    from cli import sources

    (source,) = sources.sources([name])
    return token_of(source, loopback)


def token_of(source: Source, loopback: bool) -> Token:
    """The token in a photo, in a text, or on standard input. Raises errors.PhotoError."""
    from pairing.qr.read import PhotoReader

    reader = PhotoReader()
    try:
        return source.token(reader, loopback=loopback)
    finally:
        reader.close()


def _address(text: str) -> Any:
    from pairing.transport.base import Address

    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]") or (text.count(":") > 1 and not text.startswith("[")):
        host, port = text, "4917"
    if not port.isdigit() or not 0 < int(port) < 65536 or not host.strip("[]"):
        raise errors.UsageError("An address is HOST or HOST:PORT.", element=text)
    return Address(host.strip("[]"), int(port))


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
