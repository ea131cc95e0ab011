"""Our ends and stock Kairos peers, both ways: many pairs side by side, each with its own token.

Twenty runs each way: ten more to stock nodes are in test_interop_commands.py; twenty of a stock
sender to the real node in test_interop_twenty.py, where configs are read, and here their bytes are.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from pairing.testing.netns import Namespace
from pairing.testing.stock import NEVER, Answer, Peer, Stock, ours

pytestmark = pytest.mark.timeout(300)

TOGETHER = 10
SPECIAL = (
    "quotes: \"double\" 'single' `back`\n\ttab \\n \\\\ ünïcödé 机器 🙂\r\n</script> {{ }} $HOME\n"
)
OLD, NEW = Stock("old"), Stock("new")


def config(size: int) -> str:
    """A text of about that many bytes that hardly compresses, with every awkward character."""
    chance = random.Random(size)
    head = "a: 1 # \"'é" if size < 100 else f"#cloud-config\n# {SPECIAL}\nnotes: |\n"
    body = "".join(f"  {chance.randbytes(32).hex()}\n" for _ in range(size // 67))
    return (head + body)[: max(size, len(head))]


PAYLOADS: Sequence[Mapping[str, str]] = (
    {"cc": config(10)[:10], "device": "/dev/sda"},
    {"cc": config(7_000), "device": "", "reboot": ""},
    {"cc": config(200_000), "device": "/dev/disk/by-id/x", "poweroff": ""},
)
"""Ten bytes, 7 KB, 200 KB."""


def payload(number: int) -> Mapping[str, str]:
    return PAYLOADS[number % len(PAYLOADS)]


def outcome(answers: Sequence[Answer], number: int) -> Answer:
    """The last thing that was said about a pairing."""
    return [answer for answer in answers if answer.get("number") == number][-1]


@contextlib.contextmanager
def stock(
    peers: Stock, machines: Sequence[Namespace], command: str, tokens: Sequence[str], *flags: str
) -> Iterator[list[Peer]]:
    """A stock peer on each machine; senders with their payloads."""
    with contextlib.ExitStack() as running:
        yield [
            running.enter_context(
                peers.start(machine, command, {"token": token, "payload": payload(n)}, *flags)
            )
            for n, (machine, token) in enumerate(zip(machines, tokens, strict=True))
        ]


def send(machine: Namespace, tokens: Sequence[str], *flags: str) -> list[Answer]:
    """Our end as operator, one process for all: what it said."""
    with ours(machine, *flags) as operator:
        asked = [{"token": token, "payload": payload(n)} for n, token in enumerate(tokens)]
        operator.say({"send": asked})
        return operator.rest()


def assert_all_sent(answers: Sequence[Answer], nodes: Sequence[Peer]) -> None:
    """Every stock node has its payload, and ours knows: acknowledged, or that it is not (10)."""
    for number, node in enumerate(nodes):
        last = outcome(answers, number)
        assert last["event"] == "over", (number, last, node.said)
        assert node.wait("received")["payload"] == payload(number)
    unanswered = [a["number"] for a in answers if a["event"] == "over" and not a["acknowledged"]]
    print(f"{len(nodes)} delivered, not acknowledged: {unanswered}")


def assert_all_received(answers: Sequence[Answer], operators: Sequence[Peer]) -> None:
    """Every stock sender has ended, and ours has what it sent."""
    for number, operator in enumerate(operators):
        operator.wait("sent")
        [got] = [a for a in answers if a.get("number") == number and a["event"] == "received"]
        assert got["payload"] == payload(number)
        assert outcome(answers, number)["event"] == "finished"


@contextlib.contextmanager
def receive(machine: Namespace, tokens: Sequence[str], *flags: str) -> Iterator[Peer]:
    """Our end as node, one process for all, ready."""
    with ours(machine, *flags) as nodes:
        nodes.wait("started")
        nodes.say({"receive": [{"token": token} for token in tokens]})
        yield nodes


def test_ten_stock_nodes_at_once(lan: Callable[[int], Any]) -> None:
    office, *shops = lan(1 + TOGETHER).machines
    tokens = [NEW.token() for _ in shops]
    with stock(NEW, shops, "receive", tokens) as nodes:
        assert_all_sent(send(office, tokens), nodes)


def test_ten_stock_operators_at_once(lan: Callable[[int], Any]) -> None:
    shop, *offices = lan(1 + TOGETHER).machines
    tokens = [NEW.token() for _ in offices]
    with (
        receive(shop, tokens) as nodes,
        stock(NEW, offices, "send", tokens) as operators,
    ):
        assert_all_received(nodes.rest(), operators)


@pytest.mark.parametrize(
    ("peers", "interval"), [(OLD, NEVER), (NEW, 20)], ids=["old peers", "rotating token"]
)
def test_the_same_with(peers: Stock, interval: int, lan: Callable[[int], Any]) -> None:
    """Two stock nodes and two stock operators, all at once."""
    shop, office, *others = lan(6).machines
    told, telling = ([peers.token(interval) for _ in range(2)] for _ in range(2))
    with (
        receive(shop, telling) as nodes,
        stock(peers, others[:2], "receive", told) as stock_nodes,
        stock(peers, others[2:], "send", telling) as operators,
    ):
        assert_all_sent(send(office, told), stock_nodes)
        assert_all_received(nodes.rest(), operators)


def test_through_a_dht_without_mdns(apart: Any) -> None:
    """One each way, from one network to the other, and our mDNS off altogether."""
    stock_flags = ("-bootstrap", apart.bootstrap)
    flags = ("--no-mdns", "--bootstrap", apart.bootstrap)
    there, back = NEW.token(), NEW.token()
    with (
        receive(apart.node, [back], *flags) as node,
        stock(NEW, [apart.node], "receive", [there], *stock_flags) as stock_nodes,
        stock(NEW, [apart.operator], "send", [back], *stock_flags) as operators,
    ):
        assert_all_sent(send(apart.operator, [there], *flags), stock_nodes)
        assert_all_received(node.rest(), operators)


def test_a_config_of_700_kb_is_refused_before_anything_is_sent(lan: Callable[[int], Any]) -> None:
    """The node does not even hear of us; the same node then takes one of 200 KB."""
    [(shop, office)] = lan(2).pairs()
    token = NEW.token()
    too_large = {"cc": config(700_000), "device": "/dev/sda"}
    with stock(NEW, [shop], "receive", [token]) as [node], ours(office) as operator:
        operator.say({"send": [{"token": token, "payload": too_large}]})
        last = outcome(operator.rest(), 0)
        assert (last["event"], last["exit"]) == ("failed", 3)
        assert_all_sent(send(office, [token]), [node])
