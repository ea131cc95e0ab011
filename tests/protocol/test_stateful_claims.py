"""R4: any number of operators, photos, cuts, waits, restarts and forged frames: one node, one
holder, and nobody hears a number twice.

10,000 steps here; `make soak` runs a million (tests/soak/test_soak_claims.py).
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from pairing import errors
from pairing.events import State
from pairing.peertoken import Token
from pairing.protocol import messages
from pairing.protocol.callers import NodePolicy
from pairing.protocol.kept import report_file
from pairing.protocol.terms import Identity, Release
from pairing.protocol.wire import write_message
from pairing.testing.conversation import Conversation, OperatorEnd


class Claims(RuleBasedStateMachine):
    photos = Bundle("photos")
    ends = Bundle("ends")

    def __init__(self) -> None:
        super().__init__()
        self.talk = Conversation(policy=NodePolicy(window=600), facts={"serial": "FACTS"})
        self.people = [Identity(self.talk.new_key()) for _ in range(3)]
        self.all: list[OperatorEnd] = []
        self.said: list[dict[str, object]] = []
        self.released: dict[bytes, bytes] = {}

    @rule(target=photos)
    def photograph(self) -> Token:
        return self.talk.photo()

    @rule(target=ends, photo=photos, who=st.integers(0, 2))
    def somebody_gets_a_photo(self, photo: Token, who: int) -> OperatorEnd:
        end = self.talk.operator(photo, identity=self.people[who])
        self.all.append(end)
        return end

    @rule(target=ends, end=ends)
    def runs_the_command_again(self, end: OperatorEnd) -> OperatorEnd:
        machine = end.machine
        known = end.leases[-1] if end.leases else None
        again = self.talk.operator(machine.token, identity=machine.identity, known=known)
        self.all.append(again)
        return again

    @rule(end=ends)
    def connect(self, end: OperatorEnd) -> None:
        if end.error is None and end.done is None and not end.machine._connected:
            self.talk.connect(end)

    @rule(end=ends)
    def cut(self, end: OperatorEnd) -> None:
        self.talk.cut(end)

    @rule(end=ends)
    def release(self, end: OperatorEnd) -> None:
        if end.view and end.machine._deciding and not end.machine.over:
            config = b"for " + end.machine.identity.key.public + bytes([len(self.released)])
            self.released[config] = end.machine.identity.key.public
            self.talk.release(end, Release(config=config))

    @rule(end=ends, final=st.booleans())
    def say_no(self, end: OperatorEnd, final: bool) -> None:
        if end.view and end.machine._deciding and not end.machine.over:
            error = errors.NotApprovedError()
            say = end.machine.refuse if final else end.machine.hold
            self.talk.operator_says(end, say(error))

    @rule(seconds=st.sampled_from([1, 15, 700, 1900]))
    def wait(self, seconds: int) -> None:
        self.talk.wait(seconds)

    @rule(end_state=st.sampled_from([State.WRITTEN, State.FAILED]))
    def the_node_installs(self, end_state: State) -> None:
        node = self.talk.node
        if node.machine.state is State.PLANNED:
            node.keeps = False
            self.talk.node_says(node.machine.entered(State.INSTALLING, self.talk.now))
            node.keeps = end_state is State.WRITTEN
            code = errors.StepFailed.slug if end_state is State.FAILED else ""
            self.talk.node_says(node.machine.entered(end_state, self.talk.now, code=code))

    @rule(target=ends, who=st.integers(0, 2))
    def somebody_installs_it(self, who: int) -> OperatorEnd:
        """The whole way, as far as nobody else is in it: rare by chance."""
        end = self.talk.operator(self.talk.photo(), identity=self.people[who])
        self.all.append(end)
        self.connect(end)
        self.release(end)
        self.the_node_installs(State.WRITTEN)
        return end

    @rule()
    def the_node_restarts(self) -> None:
        if self.talk.node.keeps:
            self.talk.reboot()
            self.talk.node_says(self.talk.node.machine.entered(State.INSTALLED, self.talk.now))

    @rule()
    def the_node_restarts_locked(self) -> None:
        stored = self.talk.node.stored
        if self.talk.node.keeps and stored:
            file = report_file(*stored.restored(self.talk.now))
            self.talk.lock(file, errors.UnlockFailed.slug, "")

    @rule(end=ends, data=st.data())
    def somebody_forges_a_frame(self, end: OperatorEnd, data: st.DataObject) -> None:
        forged = data.draw(
            st.one_of(
                st.builds(messages.Claim, version=st.just(1), commit=BYTES32, lease=st.just(b"")),
                st.builds(
                    messages.Chunk,
                    sequence=st.integers(0, 3),
                    offset=st.integers(0, 100),
                    data=st.binary(min_size=1, max_size=40),
                ),
                st.builds(messages.Escrowed, digest=BYTES32, signature=BYTES64),
                st.builds(messages.Bye, reason=st.sampled_from(["refuse", "x"]), text=st.just("")),
                st.builds(messages.Ack, seq=st.integers(0, 1000)),
            )
        )
        if not self._holds(end):
            self.talk.forge(end, write_message(forged))

    def _holds(self, end: OperatorEnd) -> bool:
        held = self.talk.node.machine.tenancy
        return held is not None and held.operator == end.machine.identity.key.public

    @invariant()
    def only_the_holder_has_the_lease(self) -> None:
        owners: dict[bytes, bytes] = {}
        for end in self.all:
            for known in end.leases:
                owner = end.machine.identity.key.public
                assert owners.setdefault(known.lease, owner) == owner

    @invariant()
    def every_config_came_from_the_holder_of_its_lease(self) -> None:
        for config in self.talk.node.configs:
            assert config in self.released
        held = self.talk.node.machine.tenancy
        if held and held.manifest:
            assert self.released[self.talk.node.configs[-1]] == held.operator

    @invariant()
    def facts_go_to_holders_only(self) -> None:
        for end in self.all:
            if any("FACTS" in str(body) for body in end.heard):
                assert end.leases or end.machine.known  # a locked node's, from an earlier run

    @invariant()
    def success_is_never_false(self) -> None:
        for end in self.all:
            if end.done:
                assert end.leases
                assert any(event.state is State.WRITTEN for event in end.events)

    @invariant()
    def no_number_is_heard_twice(self) -> None:
        for end in self.all:
            heard = [event.seq for event in end.events if event.state is not State.LOCKED]
            assert heard == sorted(set(heard))


BYTES32 = st.binary(min_size=32, max_size=32)
BYTES64 = st.binary(min_size=64, max_size=64)
TestClaims = Claims.TestCase
TestClaims.settings = settings(
    max_examples=100,
    stateful_step_count=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
