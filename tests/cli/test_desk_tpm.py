"""What an operator's desk makes of a TPM: shown once, after the proof, and relied on only then."""

from __future__ import annotations

import io
import json
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trio

from cli import approval
from cli.desk import OperatorDesk, Order, Rehearsed
from cli.records import Records
from node.agent import Agent
from node.facts import recorded
from node.settings import Settings
from node.testing.repair import NoDisplay
from node.tpmanswers import TpmAnswers
from pairing import errors, keys, peertoken, tpmkeys
from pairing.config.load import load
from pairing.events import State
from pairing.peertoken import Token
from pairing.protocol import handshake
from pairing.protocol.effects import Done, NodeView
from pairing.protocol.operator import OperatorMachine
from pairing.protocol.terms import Identity, Patience
from pairing.protocol.tpmproof import TpmAnswer, TpmQuestion
from pairing.report import Lines
from pairing.session import register
from pairing.testing.papertpm import PaperTpm
from pairing.transport.base import Target
from pairing.transport.memory import MemoryNetwork

MACHINE = Path(__file__).parents[2] / "examples/machines/fanless-emmc.json"
KEY = keys.generate().public
PAPER = PaperTpm()
EK_HASH = tpmkeys.read_key(PAPER.endorsement).hash
CONFIG = """#cloud-config
hostname: shop-1
users:
  - name: admin
    groups: [admin]
    ssh_authorized_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a
"""
EXPECT = "expect: {ek_hash: HASH}\n"


@dataclass(slots=True)
class PaperAnswers(TpmAnswers):
    """A TPM that takes its time; or a machine that says it has one."""

    real: bool = True

    async def answer(self, question: TpmQuestion, node_key: bytes, lease: bytes) -> TpmAnswer:
        await trio.sleep(3)
        if not self.real:
            return await TpmAnswers(None).answer(question, node_key, lease)
        return PAPER.answer(question, node_key, lease)


@dataclass
class Meeting:
    """One machine and one operator who rehearses."""

    folder: Path
    expected: str
    real: bool = True
    approve: str = "yes"
    talk: io.StringIO = field(default_factory=io.StringIO)

    async def outcome(self) -> Done | errors.KnownError:
        network = MemoryNetwork()
        agent = Agent(
            settings=Settings(port=0),
            look=lambda: recorded(MACHINE),
            display=NoDisplay(),
            state=self.folder,
            dry_run=True,
            tpm=PaperAnswers(None, real=self.real),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.run, network.transport("node"), lambda: None)
            while not agent.reachable.addresses:  # noqa: ASYNC110 (virtual time)
                await trio.sleep(0.1)
            try:
                ended: Done | errors.KnownError = await self._register(agent, network)
            except errors.KnownError as error:
                ended = error
            nursery.cancel_scope.cancel()
        return ended

    async def _register(self, agent: Agent, network: MemoryNetwork) -> Done:
        token = peertoken.parse(agent.token())
        expect = EXPECT.replace("HASH", self.expected) if self.expected else ""
        order = Order(
            document=load((CONFIG + expect).encode()),
            approval=approval.read(self.approve),
            recipients=(keys.generate_escrow().public,),
            dry_run=self.approve == "yes",
        )
        report = Lines(self.talk, io.StringIO())
        desk = OperatorDesk(order, token, Records(self.folder / "records"), report)
        identity = Identity(keys.generate())
        desk.machine = OperatorMachine(
            token, identity, State.WRITTEN, secrets.token_bytes, Patience(silence=30)
        )
        target = Target(token.key, handshake.label(token.secret, token.key), token.addresses)
        try:
            async with network.transport().dialer() as dialer:
                return await register(desk.machine, dialer, target, desk, find=20)
        finally:
            desk.close()


async def test_the_proved_key_is_the_expected_one(tmp_path: Path, quick_clock: object) -> None:
    """The recorded facts name another key: what is proved counts, not what is said."""
    assert EK_HASH not in MACHINE.read_text()
    meeting = Meeting(tmp_path, EK_HASH)
    assert isinstance(await meeting.outcome(), Rehearsed)
    said = meeting.talk.getvalue()
    assert said.count("trust     O0") == 1, "the machine is shown once"
    assert f"endorsement key {EK_HASH[:16]}" in said
    assert "TPM key   proved by credential activation" in said
    assert "not proved" not in said


def test_an_event_that_is_faster_than_the_decision_shows_the_machine_once(tmp_path: Path) -> None:
    facts = json.loads(json.dumps(recorded(MACHINE).to_json()))
    view = NodeView(node=KEY, trust="O0", words=(), facts=facts, path="memory", resumed=False)
    talk = io.StringIO()
    order = Order(document=load(CONFIG.encode()), approval=approval.read("yes"), recipients=())
    report, records = Lines(talk, io.StringIO()), Records(tmp_path)
    desk = OperatorDesk(order, Token(KEY, bytes(16)), records, report)
    desk.look(view)
    desk.look(replace(view))
    assert talk.getvalue().count("trust     O0") == 1
    desk.look(replace(view, path="another way"))
    assert talk.getvalue().count("trust     O0") == 2


async def test_what_the_facts_say_is_not_enough(tmp_path: Path, quick_clock: object) -> None:
    facts = recorded(MACHINE)
    assert facts.tpm is not None
    claimed = Meeting(tmp_path, facts.tpm.ek_hash, real=False)
    assert isinstance(await claimed.outcome(), errors.EkUnproved)
    assert "not proved" in claimed.talk.getvalue()
    proved = Meeting(tmp_path, facts.tpm.ek_hash)
    assert isinstance(await proved.outcome(), errors.ConfigNotForThisMachine)


@pytest.mark.parametrize(("real", "outcome"), [(True, Done), (False, errors.PolicyUnmet)])
async def test_a_policy_relies_on_the_proof(
    real: bool, outcome: type[object], tmp_path: Path, quick_clock: object
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules:\n  - ek_hash: '*'\n")
    meeting = Meeting(tmp_path, "", real=real, approve=str(policy))
    assert isinstance(await meeting.outcome(), outcome)
