"""The machine's network interfaces that are hardware, or a virtual machine's."""

from __future__ import annotations

import json
from pathlib import Path

from node.system.reading import Run, names, number, output, short, text
from pairing.facts import LIST_LIMIT, Nic

IP_SECONDS = 10.0
IP = ("ip", "-json", "address", "show")
ETHERNET = "1"
"""ARPHRD_ETHER; wireless interfaces have it too (linux/if_arp.h)."""


def nics(root: Path, run: Run) -> tuple[Nic, ...]:
    """All that have a device behind them; bridges, VLANs and containers' ends have none."""
    folder = root / "sys/class/net"
    real = [
        name
        for name in names(folder)
        if (folder / name / "device").exists() and text(folder / name / "type") == ETHERNET
    ]
    addresses = _addresses(run) if real else {}
    return tuple(
        Nic(
            name=short(name),
            mac=text(folder / name / "address").lower(),
            link=text(folder / name / "carrier") == "1",
            speed=number(folder / name / "speed"),
            addresses=addresses.get(name, ())[:LIST_LIMIT],
        )
        for name in real[:LIST_LIMIT]
    )


def _addresses(run: Run) -> dict[str, tuple[str, ...]]:
    """Global addresses with their prefix length by interface; none if `ip` is missing."""
    try:
        body = json.loads(output(run, IP, seconds=IP_SECONDS) or "[]")
    except (ValueError, RecursionError):
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for link in body if isinstance(body, list) else ():
        if isinstance(link, dict) and isinstance(link.get("addr_info"), list):
            found[str(link.get("ifname"))] = tuple(
                short(f"{one.get('local')}/{one.get('prefixlen')}")
                for one in link["addr_info"]
                if isinstance(one, dict) and one.get("scope") == "global"
            )
    return found
