"""What is used of libp2p is loaded, the rest when somebody asks for it."""

from __future__ import annotations

import json
import sys

from pairing import process

HEAVY = {"aioquic", "dns", "httpx", "prometheus_client", "requests", "urllib3"}
LOADED = "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def loaded(*lines: str) -> set[str]:
    """Top-level packages that a new Python has after these lines."""
    program = "\n".join(["import json, sys", *lines, LOADED])
    return set(json.loads(process.run([sys.executable, "-c", program], seconds=50).text()))


def test_the_transport_comes_without_what_it_does_not_use() -> None:
    found = loaded(
        "import pairing.transport.p2p as p2p", "p2p.warm_up()",
        "import pairing.transport.p2p.gossip.network",
    )  # fmt: skip
    assert "noise" in found, "the probe sees what is loaded"
    assert not found & HEAVY


def test_control_libp2p_alone_brings_it_all() -> None:
    assert found_all(loaded("import libp2p"))


def found_all(found: set[str]) -> bool:
    return found >= {"aioquic", "httpx", "prometheus_client"}


def test_what_a_package_has_is_there_once_it_is_asked_for() -> None:
    found = loaded(
        "import pairing.transport.p2p as p2p", "p2p.warm_up()",
        "from libp2p import new_host",
        "from libp2p.transport.quic.stream import QUICStream, StreamDirection",
        "from libp2p.security import noise",
        "assert callable(new_host) and hasattr(QUICStream, 'read') and noise.transport",
        "import libp2p",
        "try: libp2p.nothing_of_that_name",
        "except AttributeError: pass",
        "else: raise SystemExit('it has anything')",
    )  # fmt: skip
    assert found_all(found)
