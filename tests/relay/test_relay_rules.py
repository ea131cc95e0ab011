"""The relay's rules without a socket: lines, proofs, buckets, who waits where."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pairing import keys
from pairing.transport import relay_protocol as protocol
from pairing.transport.relay_protocol import Call, Limits, Reason, Refused, Wait

NODE, STRANGER = keys.SigningKey(b"\x07" * 32), keys.SigningKey(b"\x08" * 32)
LABEL, NONCE = b"\x01" * 32, b"\x02" * 32
words32 = st.binary(min_size=32, max_size=32)
access_tokens = st.just("") | st.from_regex(r"[A-Za-z0-9_-]{16,64}", fullmatch=True)


@given(words32, words32, access_tokens)
def test_a_first_line_says_what_was_meant_and_fits(key: bytes, label: bytes, token: str) -> None:
    for hello in (Wait(key, label, token), Call(protocol.address(key, label), token)):
        line = hello.line()
        assert len(line) < protocol.LINE_LIMIT
        assert protocol.parse_hello(line) == hello


@given(st.text() | st.text("EP1-relay/ 0123456789abcdefwaitcll", max_size=200))
def test_no_line_ends_in_another_error(line: str) -> None:
    with contextlib.suppress(Refused):
        assert protocol.parse_hello(line).line() == line


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", Reason.MALFORMED),
        ("GET / HTTP/1.1", Reason.MALFORMED),
        ("EP1-relay/2 call " + "0" * 64, Reason.VERSION),
        ("EP1-relay/1", Reason.MALFORMED),
        ("EP1-relay/1 call", Reason.MALFORMED),
        ("EP1-relay/1 call " + "0" * 63, Reason.MALFORMED),
        ("EP1-relay/1 call " + "A" * 64, Reason.MALFORMED),
        ("EP1-relay/1 call " + "0" * 64 + " short", Reason.MALFORMED),
        ("EP1-relay/1 call " + "0" * 64 + " " + "t" * 16 + " more", Reason.MALFORMED),
        ("EP1-relay/1 hang " + "0" * 64, Reason.MALFORMED),
        ("EP1-relay/1 wait " + "0" * 64, Reason.MALFORMED),
    ],
)
def test_wrong_lines_are_refused_by_name(line: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        protocol.parse_hello(line)
    assert refused.value.reason == reason


def test_the_address_is_the_documented_hash() -> None:
    expected = hashlib.sha256(b"EP1-relay\0" + NODE.public + LABEL).digest()
    assert protocol.address(NODE.public, LABEL) == expected


def test_only_the_keys_owner_may_wait_there() -> None:
    wait = Wait(NODE.public, LABEL)

    def line(signer: keys.SigningKey, nonce: bytes = NONCE, label: bytes = LABEL) -> str:
        where = protocol.address(NODE.public, label)
        return f"proof {protocol.proof(signer.seed, nonce, where).hex()}"

    protocol.check_proof(wait, NONCE, line(NODE))
    for wrong in (line(STRANGER), line(NODE, b"\x03" * 32), line(NODE, label=b"\x04" * 32)):
        with pytest.raises(Refused, match=Reason.PROOF):
            protocol.check_proof(wait, NONCE, wrong)
    for junk in ("", "proof", "proof zz", line(NODE)[:-1], line(NODE).upper()):
        with pytest.raises(Refused, match=Reason.MALFORMED):
            protocol.check_proof(wait, NONCE, junk)


def test_an_open_relay_admits_everybody_and_a_closed_one_its_own() -> None:
    assert protocol.admits("", "")
    assert protocol.admits("", "whatever")
    assert protocol.admits("t" * 16, "t" * 16)
    assert not protocol.admits("t" * 16, "")
    assert not protocol.admits("t" * 16, "t" * 17)


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 100)), max_size=50),
    st.floats(1, 1000),
    st.floats(1, 5000),
)
def test_a_bucket_never_lets_through_more_than_burst_and_rate(
    takes: list[tuple[int, float]], rate: float, burst: float
) -> None:
    now, taken = 0.0, 0
    bucket = protocol.Bucket(rate, burst, now)
    for amount, idle in takes:
        now += idle
        now += bucket.take(amount, now)  # whoever obeys waits this long before it sends
        taken += amount
        assert taken <= (burst + rate * now) * 1.000001 + 0.001


def test_connections_per_ip_are_limited_first_politely_then_silently() -> None:
    limits = Limits(connections_per_minute=6, connections_burst=3)
    door = protocol.Doorkeeper(limits)

    def knock(ip: str, now: float) -> bool:
        with door.visit(ip, now) as welcome:
            return welcome

    assert [knock("a", 0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert knock("b", 0)
    for _ in range(limits.connections_per_minute - 1):
        assert not knock("a", 0)
    with pytest.raises(Refused, match=Reason.LIMIT):
        knock("a", 0)
    assert knock("a", 3600)


def test_unaccepted_connections_are_limited_per_ip_and_in_all() -> None:
    door = protocol.Doorkeeper(Limits(greeting=2, greeting_per_ip=1))
    with door.visit("a", 0):
        with pytest.raises(Refused, match=Reason.LIMIT), door.visit("a", 0):
            pass
        with door.visit("b", 0), pytest.raises(Refused, match=Reason.FULL), door.visit("c", 0):
            pass
    with door.visit("a", 0) as welcome:
        assert welcome


def test_the_doorkeeper_forgets_networks_that_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol.Doorkeeper, "_KEPT", 10)
    door = protocol.Doorkeeper(Limits())
    for number in range(1000):
        with door.visit(str(number), float(number)):
            pass
    assert len(door._buckets) <= 11


class SwitchboardModel(RuleBasedStateMachine):
    """Any order of joins, leaves, calls and hang-ups keeps the limits and the newest-wins rule."""

    limits = Limits(
        waiting=5, waiting_per_ip=3, circuits=4, circuits_per_ip=3, circuits_per_address=2
    )
    ends = Bundle("ends")
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.board: protocol.Switchboard[object] = protocol.Switchboard(self.limits)
        self.waiting: dict[bytes, tuple[object, str]] = {}
        self.circuits: list[tuple[bytes, str]] = []

    places = st.sampled_from([bytes([n]) * 32 for n in range(7)])
    ips = st.sampled_from(["a", "b", "c"])

    @rule(target=ends, where=places, ip=ips)
    def join(self, where: bytes, ip: str) -> tuple[bytes, object]:
        end, old = object(), self.waiting.get(where)
        others = [i for w, (_, i) in self.waiting.items() if w != where]
        try:
            replaced = self.board.join(where, ip, end)
        except Refused as refused:
            full = refused.reason == Reason.FULL and len(others) == self.limits.waiting
            limit = refused.reason == Reason.LIMIT and others.count(ip) >= 2
            assert full or limit
        else:
            assert replaced is (old[0] if old else None)
            self.waiting[where] = (end, ip)
        return where, end

    @rule(one=ends)
    def leave(self, one: tuple[bytes, object]) -> None:
        where, end = one
        self.board.leave(where, end)
        if where in self.waiting and self.waiting[where][0] is end:
            del self.waiting[where]

    @rule(target=calls, where=places, ip=ips)
    def ring(self, where: bytes, ip: str) -> tuple[bytes, str] | None:
        try:
            end = self.board.ring(where, ip)
        except Refused as refused:
            self.check_refusal(refused.reason, where, ip)
            return None
        assert end is self.waiting.pop(where)[0]
        self.circuits.append((where, ip))
        return where, ip

    def check_refusal(self, reason: str, where: bytes, ip: str) -> None:
        here = [w for w, _ in self.circuits].count(where)
        assert {
            Reason.NOBODY: where not in self.waiting and not here,
            Reason.BUSY: here >= 2 or (here and where not in self.waiting),
            Reason.LIMIT: [i for _, i in self.circuits].count(ip) == 3,
            Reason.FULL: len(self.circuits) == self.limits.circuits,
        }[reason]

    @rule(one=consumes(calls))
    def hang_up(self, one: tuple[bytes, str] | None) -> None:
        if one is not None:
            self.board.hang_up(*one)
            self.circuits.remove(one)

    @invariant()
    def counts(self) -> None:
        assert self.board.waiting == len(self.waiting) <= self.limits.waiting
        assert self.board.circuits == len(self.circuits) <= self.limits.circuits
        assert set(self.board.everybody()) == {end for end, _ in self.waiting.values()}


TestSwitchboard = SwitchboardModel.TestCase
