"""Clock, network, names, relays, and the port that operators reach this machine at."""

from __future__ import annotations

import time
from collections.abc import Iterator

import trio

from node.checkup.look import Look, advice, wrong
from node.system.nics import nics
from node.system.reading import read
from pairing import errors
from pairing.findings import Finding, ok

PROGRAM_BUILT = 1_790_000_000
"""Unix seconds; a clock before it is wrong."""
SYNCHRONIZED = "run/systemd/timesync/synchronized"
RESOLVERS = ("run/systemd/resolve/resolv.conf", "etc/resolv.conf")
NAME_SECONDS, RELAY_SECONDS, UNIT_SECONDS = 10.0, 15.0, 20.0
LISTENS = "0A"
"""State of a listening socket (proc_net(5), TCP_LISTEN)."""


def clock(look: Look) -> Iterator[Finding]:
    """What time it is, and whether a time server said so."""
    now = look.clock()
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if now < PROGRAM_BUILT:
        hint = "Certificates fail with it. An operator sets it when registering; change the battery"
        yield wrong("clock", f"it says {shown}, which is past", f"{hint} of the board.")
    elif (look.root / SYNCHRONIZED).exists():
        yield ok("clock", f"{shown}, from a time server")
    else:
        yield advice("clock", f"{shown}; no time server was reached", "Let UDP port 123 out.")


def network(look: Look) -> Iterator[Finding]:
    """Cables and addresses."""
    found = nics(look.root, look.run)
    if not found:
        yield wrong("network", "there is no network card", "Use another card, or another machine.")
        return
    for nic in found:
        if nic.addresses:
            yield ok("network", f"{nic.name} {', '.join(nic.addresses[:3])}")
    if any(nic.addresses for nic in found):
        return
    linked = ", ".join(nic.name for nic in found if nic.link)
    if linked:
        hint = "Look at the router: it gives no address (DHCP)."
        yield wrong("network", f"{linked} is connected, but has no address", hint)
    else:
        cards = ", ".join(nic.name for nic in found)
        yield wrong("network", f"no cable is connected ({cards})", "Plug in the network cable.")


def names(look: Look) -> Iterator[Finding]:
    """Name servers, and the names of relays."""
    lines = [line for path in RESOLVERS for line in read(look.root / path).decode().splitlines()]
    servers = [line.split()[1] for line in lines if line.startswith("nameserver ")]
    servers = [server for server in dict.fromkeys(servers) if not server.startswith("127.")]
    if not servers:
        hint = "Only needed for relays, clusters and updates that are named; DHCP gives one."
        yield advice("names", "there is no name server", hint)
        return
    yield ok("names", f"asked at {', '.join(servers[:3])}")
    for host in _named(look.settings.relays):
        argv = ("getent", "ahosts", host)
        if look.run(argv, seconds=NAME_SECONDS, check=False).status:
            hint = "Look at the router's name server; or write the relay's address in the settings."
            yield wrong("names", f"{host} is not known", hint)


def _named(relays: tuple[str, ...]) -> list[str]:
    """Hosts of the relays that are names, not addresses."""
    import ipaddress

    from pairing.transport.relay import RelayAddress

    hosts = [RelayAddress.parse(relay).host for relay in relays]
    found = []
    for host in hosts:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            found.append(host)
    return found


def relays(look: Look) -> Iterator[Finding]:
    """Whether each relay answers."""
    from pairing.transport.relay_probe import probe

    for place in look.settings.relays:
        try:
            seconds = trio.run(probe, place, RELAY_SECONDS)
            yield ok("relay", f"{place} answers in {1000 * seconds:.0f} ms")
        except errors.KnownError as error:
            yield wrong("relay", error.sentence, error.hint)


def port(look: Look) -> Iterator[Finding]:
    """Whether operators can reach the program that waits for them."""
    argv = ("systemctl", "is-active", "--quiet", "kairos-node.service")
    if look.run(argv, seconds=UNIT_SECONDS, check=False).status:
        hint = "See: journalctl -b -u kairos-node. Restart it: systemctl restart kairos-node"
        yield wrong("agent", "kairos-node.service is not up", hint)
        return
    number = look.settings.port
    if _listens(look, number):
        yield ok("agent", f"up, waits for operators at port {number}")
    elif look.installed:
        yield ok("agent", "up; everything was told, so it waits for nobody")
    else:
        hint = "See: journalctl -b -u kairos-node. The screen shows why."
        yield wrong("agent", f"up, but nothing listens at port {number}", hint)


def _listens(look: Look, number: int) -> bool:
    wanted = f":{number:04X}"
    for name in ("tcp", "tcp6"):
        for line in read(look.root / "proc/net" / name).decode().splitlines()[1:]:
            fields = line.split()
            if len(fields) > 3 and fields[1].endswith(wanted) and fields[3] == LISTENS:
                return True
    return False
