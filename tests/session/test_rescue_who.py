"""Who may repair a node: each refusal beside an admission that differs in one thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.testing.repair import GOODBYE, Person, agent_in, repaired, running, station
from pairing import errors, keys
from pairing.events import Mode
from pairing.protocol.kept import ReportFile
from pairing.protocol.terms import Identity
from pairing.transport.memory import MemoryNetwork

FLEET, OTHER_FLEET = keys.generate(), keys.generate()
OWNER = keys.generate()
PINNED = (keys.PinnedFleet(FLEET.public),)


def owned_by(operator: keys.SigningKey, fleet: bytes = b"") -> ReportFile:
    return ReportFile(
        seed=bytes(32),
        node=bytes(32),
        lease=bytes(16),
        secret=bytes(32),
        operator=operator.public,
        fleet=fleet,
        relays=(),
        unlock="",
    )


def damaged() -> ReportFile | None:
    raise ValueError("its checksum is wrong")


@pytest.mark.parametrize(
    ("agent_options", "identity", "error"),
    [
        # An open image: the owner, and who the owner's fleet vouches for.
        ({"installed": lambda: owned_by(OWNER)}, Identity(OWNER), None),
        ({"installed": lambda: owned_by(OWNER, FLEET.public)}, station(FLEET), None),
        ({"installed": lambda: owned_by(OWNER)}, Identity(keys.generate()), "rescue-refused"),
        ({"installed": lambda: owned_by(OWNER)}, station(FLEET), "rescue-refused"),
        (
            {"installed": lambda: owned_by(OWNER, FLEET.public)},
            station(OTHER_FLEET),
            "rescue-refused",
        ),
        (
            {"installed": lambda: owned_by(OWNER), "open_rescue": True},
            Identity(keys.generate()),
            "rescue-refused",
        ),
        # Nobody owns it: only where the image says so.
        ({}, Identity(OWNER), "rescue-refused"),
        ({"open_rescue": True}, Identity(keys.generate()), None),
        ({"installed": damaged, "open_rescue": True}, Identity(OWNER), "rescue-refused"),
        # A pinned fleet: its stations, and nobody else gets as far as a lease.
        ({"fleets": PINNED}, station(FLEET), None),
        ({"fleets": PINNED}, Identity(OWNER), "fleet-only"),
        ({"fleets": PINNED}, station(OTHER_FLEET), "fleet-only"),
        # The boots.
        ({"fleets": PINNED, "mode": Mode.LIVE}, station(FLEET), None),
        ({"fleets": PINNED, "mode": Mode.INSTALLED}, station(FLEET), "rescue-refused"),
        ({"fleets": PINNED, "mode": Mode.LOCKED}, station(FLEET), None),
        # Who has the disk writes who owns it: worth nothing where the TPM would open the disk.
        (
            {"installed": lambda: owned_by(OWNER), "mode": Mode.LOCKED},
            Identity(OWNER),
            "rescue-refused",
        ),
    ],
)
async def test_who_may(
    agent_options: dict[str, object],
    identity: Identity,
    error: str | None,
    tmp_path: Path,
    patient_clock: object,
) -> None:
    """The refused ones are each beside an allowed one that differs in one thing: the controls."""
    network = MemoryNetwork()
    agent = agent_in(tmp_path, **agent_options)  # type: ignore[arg-type]
    person = Person([*GOODBYE])
    async with running(agent, network) as token:
        if error is None:
            await repaired(token, network, person, identity)
            return
        with pytest.raises(errors.NotAuthenticError) as refused:
            await repaired(token, network, person, identity)
    assert refused.value.slug == error
    assert person.limits is None
    assert person.shown == ""


async def test_the_tpm_of_a_locked_system_is_closed_before(
    tmp_path: Path, patient_clock: object
) -> None:
    def cannot() -> None:
        raise errors.CommandMissing(element="tpm2_pcrextend")

    network = MemoryNetwork()
    for mode, close, opens in (
        (Mode.LOCKED, None, False), (Mode.LOCKED, cannot, False), (Mode.RECOVERY, cannot, True),
    ):  # fmt: skip
        agent = agent_in(tmp_path, fleets=PINNED, mode=mode)
        agent.rescue.close_tpm = close
        person = Person([*GOODBYE])
        async with running(agent, network) as token:
            if opens:
                await repaired(token, network, person, station(FLEET))
            else:
                with pytest.raises(errors.RescueFailed, match="TPM"):
                    await repaired(token, network, person, station(FLEET))
        assert bool(person.shown) is opens


async def test_no_shell_of_somebody_elses_computer(tmp_path: Path, patient_clock: object) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    agent.repairable = False
    async with running(agent, network) as token:
        with pytest.raises(errors.RescueRefused):
            await repaired(token, network, Person([*GOODBYE]), station(FLEET))


async def test_an_order_signed_by_another_key_opens_nothing(
    tmp_path: Path, patient_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, agent = MemoryNetwork(), agent_in(tmp_path, fleets=PINNED)
    identity, forger = station(FLEET), keys.generate()

    def signed_by_another(self: keys.SigningKey, domain: str, body: bytes) -> bytes:
        return real(forger if domain == "rescue" else self, domain, body)

    real = keys.SigningKey.sign
    monkeypatch.setattr(keys.SigningKey, "sign", signed_by_another)
    async with running(agent, network) as token:
        with pytest.raises(errors.BadProof):
            await repaired(token, network, Person([*GOODBYE]), identity)
