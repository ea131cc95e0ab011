"""`kairos-fleet mesh`: look into a running network of Kairos, and give its nodes roles."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options

if TYPE_CHECKING:
    from cli.mesh_run import MeshRun

HELP = """A running network of Kairos: its kubeconfig, its machines, the roles of its nodes.

\b
Examples:
  kairos-fleet mesh nodes --token net.token
  kairos-fleet mesh roles --token cluster.yaml
  kairos-fleet mesh set-role --token net.token 7d1c0f2e worker
  kairos-fleet mesh kubeconfig --token net.token --output kube.yaml

TOKEN FILE holds the network token, bare or as p2p.network_token of a config; `-` reads it from
standard input. No VPN is set up and no service is asked: the network's ledger is read, which all
its members tell each other. Whoever has the token can write that ledger, and the highest version of
it wins: what is shown here is what the members believe, not what is proved.
"""


@click.group(help=HELP)
def mesh() -> None:
    """See HELP."""


def _reaching(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command here."""
    for option in reversed(
        (
            click.option("--token", "source", required=True, metavar="FILE|-",
                         help="Where the network token is."),
            click.option("--network-id", default="kairos", show_default=True, metavar="NAME",
                         help="The cluster's p2p.network_id."),
            click.option("--bootstrap", multiple=True, metavar="MULTIADDR",
                         help="Look in the DHT that this peer knows; `public` for the public one. "
                         "Repeatable."),
            click.option("--mdns/--no-mdns", default=True, show_default=True,
                         help="Look in the local network."),
            click.option("--timeout", type=click.FloatRange(1, 3600), default=60.0,
                         show_default=True, metavar="SECONDS", help="For hearing a member."),
            options.log_level,
        )
    ):  # fmt: skip
        command = option(command)
    return command


_shown = click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", show_default=True,
    help="Lines for people, or one JSON object.",
)  # fmt: skip


@mesh.command()
@_reaching
@click.option(
    "--output", "path", type=click.Path(path_type=Path), metavar="FILE",
    help="A new file, for its owner alone.  [default: standard output, unless a terminal]",
)  # fmt: skip
@click.option(
    "--server", default="", metavar="HOST",
    help="The control plane's address.  [default: what the network says, inside its VPN]",
)  # fmt: skip
def kubeconfig(path: Path | None, server: str, **reaching: Any) -> None:
    """Write the cluster's kubeconfig.

    \b
    Examples:
      kairos-fleet mesh kubeconfig --token net.token --output kube.yaml
      kairos-fleet mesh kubeconfig --token net.token --server cp.example

    It makes you the cluster's administrator. One that names programs to run, files or proxies is
    refused: anybody with the token could have put it there.

    Exit codes: 0 done, 4 no network token, 5 nobody heard, or there is none yet, 6 not usable.
    """
    from cli.secretfile import put_out

    run = _run(**reaching)
    put_out(run.kubeconfig(server), path, "--output")
    if not server:
        run.talk.say("kubeconfig", "its address is the network's own; --server names another")


@mesh.command()
@_reaching
@_shown
def nodes(output: str, **reaching: Any) -> None:
    """List the machines in the network's VPN.

    \b
    Examples:
      kairos-fleet mesh nodes --token net.token
      kairos-fleet mesh nodes --token - --output json < net.token

    Exit codes: 0 done, 4 no network token, 5 nobody heard.
    """
    found = _run(**reaching).machines()
    _show(
        output,
        "machines",
        [
            {
                "address": machine.address,
                "hostname": machine.hostname,
                "system": machine.system,
                "version": machine.version,
                "peer": machine.peer,
                "seen": machine.seen,
            }
            for machine in found
        ],
    )


@mesh.command()
@_reaching
@_shown
def roles(output: str, **reaching: Any) -> None:
    """List the nodes by their UUID, and the role of each.

    \b
    Examples:
      kairos-fleet mesh roles --token net.token

    Exit codes: 0 done, 4 no network token, 5 nobody heard.
    """
    found = _run(**reaching).members()
    _show(
        output,
        "nodes",
        [
            {
                "uuid": member.uuid,
                "role": member.role,
                "address": member.address,
                "seen": member.seen,
            }
            for member in found
        ],
    )


@mesh.command(name="set-role")
@_reaching
@click.argument("uuid", metavar="UUID")
@click.argument("role", metavar="ROLE")
def set_role(uuid: str, role: str, **reaching: Any) -> None:
    """Give a node a role: worker, control-plane, control-plane/ha, ...

    \b
    Examples:
      kairos-fleet mesh set-role --token net.token 7d1c0f2e worker

    UUID is what `kairos-agent uuid` prints there. Set it before the node joins: one that has taken
    a role keeps it until it is installed anew. All that others wrote stays; but the ledger has no
    owner, so a later word of anybody overrides this one.

    Exit codes: 0 another member holds it, 2 no such role, 4 no network token, 5 nobody heard
    (nothing was written), 10 written, but nobody was seen to hold it.
    """
    from pairing.report import safe

    run = _run(**reaching)
    done = run.set_role(uuid, role)
    before = f", before: {safe(done.before)}" if done.before else ""
    run.talk.say("role", f"{uuid} is {role}{before}")
    run.talk.say("role", "nobody owns it: a later word of anybody with the token overrides this")
    if done.before and done.before != role:
        run.talk.warn("a node that has taken its role keeps it until it is installed anew")
    if not done.known:
        run.talk.warn("no node with this UUID was seen in the network; the role waits for it")


def _run(
    source: str, network_id: str, bootstrap: tuple[str, ...], mdns: bool, timeout: float
) -> MeshRun:
    import sys

    from cli.mesh_run import MeshRun, edgevpn, token_from
    from pairing.report import Lines

    talk = Lines(sys.stderr, sys.stdout)
    return MeshRun(
        token=token_from(source, talk.warn),
        network=edgevpn(bootstrap, mdns),
        seconds=timeout,
        network_id=network_id,
        talk=talk,
    )


def _show(output: str, name: str, rows: list[dict[str, Any]]) -> None:
    """A table of a stranger's words, made harmless; or JSON, where they are escaped."""
    from pairing.report import safe

    if output == "json":
        click.echo(json.dumps({"schema": 1, name: rows}, indent=2))
        return
    for row in rows:
        parts = [_cell(key, value) for key, value in row.items()]
        click.echo(safe("  ".join(parts)).rstrip())
    if not rows:
        click.echo(f"no {name}", err=True)


def _cell(key: str, value: object) -> str:
    if key == "seen":
        return "never seen" if value is None else f"seen {_age(int(str(value)))}"
    return f"{str(value)[:80] or '-':<14}"


def _age(seen: int) -> str:
    age = max(0, int(time.time()) - seen)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if age >= size:
            return f"{age // size} {unit} ago"
    return "just now"
