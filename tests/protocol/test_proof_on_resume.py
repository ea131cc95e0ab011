"""Found by `make soak`: an operator killed just before the proof of the recovery key arrived."""

from __future__ import annotations

from pairing.events import State
from pairing.protocol import handshake, messages
from pairing.protocol.terms import Release
from pairing.testing.conversation import Conversation


def test_who_resumes_after_the_end_still_gets_the_proof() -> None:
    talk = Conversation()
    end = talk.operator()
    talk.connect(end)
    talk.release(end, Release(config=b"hostname: shop\n"))
    machine = talk.node.machine
    assert machine.tenancy is not None
    talk.node_says(machine.entered(State.INSTALLING, talk.now))
    record = messages.EscrowRecord(
        node=machine.public, lease=machine.tenancy.lease, serial="S-1", keys=()
    )
    talk.node_says(machine.escrow(record, talk.now))
    talk.cut(end)
    digest = handshake.record_digest(record)
    proof = messages.VolumeProof(digest=digest, volumes=(), ek_hash="", dry_run=False)
    talk.node_says(machine.proved(proof, talk.now))
    talk.node_says(machine.entered(State.WRITTEN, talk.now))

    again = talk.operator(end.machine.token, identity=end.machine.identity, known=end.leases[-1])
    talk.connect(again)
    assert again.done is not None
    assert again.proofs == [proof]
