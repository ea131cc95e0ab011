"""Changing the keys of an installed machine's volumes: real LUKS volumes in files, cut anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from node.recoverykey import RecoveryKey
from node.system.binding import require_pure
from node.system.install.doors import Doors
from node.system.keychange import KeyChange, Owner
from node.testing.installed import InstalledMachine
from node.testing.locksmith import Killed, Locksmith, possible
from pairing import approval, errors, keys
from pairing.process import Result
from pairing.protocol import handshake
from pairing.protocol.effects import CarryOut
from pairing.protocol.messages import EscrowRecord, VolumeProof
from pairing.protocol.requests import Task
from pairing.serving import Reporter

pytestmark = pytest.mark.skipif(not possible(), reason="cryptsetup is not installed")

DATA = Path(__file__).resolve().parents[1] / "data" / "volumes"
ESCROW = keys.generate_escrow()
NODE, LEASE = b"n" * 32, b"l" * 16
OWNER = Owner(node=NODE, lease=LEASE, serial="S-1", ek_hash="e")
PCR7 = bytes.fromhex("8878b15a7d6a3a4f464e8f9f42591dbc0cf4bedea0ec309003d2b2ee53655ef8")
Make = Callable[..., Locksmith]


@dataclass
class Station:
    """The operator's: what it was sent. `refuses`: it keeps nothing."""

    records: list[EscrowRecord] = field(default_factory=list)
    proofs: list[VolumeProof] = field(default_factory=list)
    refuses: bool = False
    before: Callable[[], None] = lambda: None

    async def escrow(self, record: EscrowRecord) -> None:
        self.before()
        if self.refuses:
            raise errors.EscrowNotAcknowledged
        self.records.append(record)

    def proved(self, proof: VolumeProof) -> None:
        self.proofs.append(proof)

    def held(self) -> list[bytes]:
        """The keys that its escrow key opens, the newest first."""
        context = handshake.escrow_context(NODE, LEASE)
        return [ESCROW.open(one.keys[0].sealed, context) for one in reversed(self.records)]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A machine that was installed in this way."""

    def made(name: str = "m", encryption: str = "tpm2", unlock: str = "auto") -> Locksmith:
        machine = InstalledMachine(tmp_path / name)
        recorded = json.loads(
            (DATA / f"{'approval' if unlock == 'approval' else 'tpm2'}.json").read_text()
        )
        token = next(iter(recorded["tokens"].values()))
        smith = Locksmith(machine, token=token)
        key = _public_key(token)
        machine.write("usr/lib/kairos-register/pcr.pub", key)
        how = {"encryption": encryption, "unlock": unlock, "tang": ["http://tang.example"]}
        machine.write("oem/.kairos/install.json", json.dumps(how))
        machine.write("boot/kairos/escrow.json", "old")
        machine.measure(7, PCR7)
        machine.measure(15, b"o" * 32)
        machine.programs["tpm2_readpublic"] = _storage_root
        machine.programs["systemd-creds"] = lambda argv, stdin: Result(0, stdin, b"")
        return smith

    return made


def _public_key(token: dict[str, Any]) -> bytes:
    import base64

    return base64.b64decode(token["tpm2_pubkey"])


def _storage_root(argv: Any, stdin: bytes) -> Result:
    Path(argv[-1]).write_bytes(bytes.fromhex((DATA / "storage-root.hex").read_text()))
    return Result(0, b"", b"")


async def change(smith: Locksmith, task: Task, station: Station, key: bytes = b"") -> None:
    doors = Doors(run=smith.run, root=smith.root)
    order = CarryOut(task, (ESCROW.public,), key or smith.key.passphrase)
    await KeyChange(doors, OWNER).carry_out(order, cast("Reporter", station))


# --- a new recovery key -------------------------------------------------------------------------


async def test_the_new_key_opens_and_the_old_one_does_not(make: Make) -> None:
    smith, station = make(), Station()
    await change(smith, Task.ROTATE, station)
    (new,) = station.held()
    assert smith.opens(new) == [True, True]
    assert smith.opens(smith.key.passphrase) == [False, False]
    assert smith.slots() == [1, 1]
    (proof,) = station.proofs
    assert proof.digest == handshake.record_digest(station.records[0])
    assert [volume.name for volume in proof.volumes] == ["KR_OEM", "KR_PERSISTENT"]
    kept = json.loads((smith.root / "boot/kairos/escrow.json").read_bytes())
    assert kept == station.records[0].to_json()
    assert not list((smith.root / "run/kairos-register").glob("key-*"))


async def test_nothing_is_changed_before_the_operator_has_the_key(make: Make) -> None:
    smith, station = make(), Station(refuses=True)
    before = [smith.at(device).read_bytes() for device in ("/dev/vda2", "/dev/vda9")]
    with pytest.raises(errors.EscrowNotAcknowledged):
        await change(smith, Task.ROTATE, station)
    assert [smith.at(device).read_bytes() for device in ("/dev/vda2", "/dev/vda9")] == before
    assert smith.opens(smith.key.passphrase) == [True, True]


@pytest.mark.parametrize(
    "key", [b"", b"no key", RecoveryKey.new().passphrase], ids=["none", "words", "another"]
)
async def test_an_order_with_a_key_that_does_not_open_is_refused(make: Make, key: bytes) -> None:
    smith, station = make(), Station()
    order = CarryOut(Task.ROTATE, (ESCROW.public,), key)
    with pytest.raises(errors.UnlockFailed):
        await KeyChange(Doors(run=smith.run, root=smith.root), OWNER).carry_out(
            order, cast("Reporter", station)
        )
    assert not station.records
    assert smith.slots() == [1, 1]


async def test_a_key_for_nobody_is_not_made(make: Make) -> None:
    smith = make()
    order = CarryOut(Task.ROTATE, (), smith.key.passphrase)
    with pytest.raises(errors.NoSuchKeys):
        await KeyChange(Doors(run=smith.run, root=smith.root), OWNER).carry_out(
            order, cast("Reporter", Station())
        )
    assert smith.slots() == [1, 1]


@pytest.mark.parametrize("unlock", ["auto", "approval"])
async def test_cut_anywhere_one_key_of_the_operator_opens_both(make: Make, unlock: str) -> None:
    """And the next rotation leaves nothing of the one that was cut."""
    whole, station = make("whole", unlock=unlock), Station()
    await change(whole, Task.ROTATE, station)
    assert whole.changes == (6 if unlock == "approval" else 4)
    for cut in range(1, whole.changes + 1):
        smith, station = make(f"cut-{cut}", unlock=unlock), Station()
        smith.cut = cut
        with pytest.raises(Killed):
            await change(smith, Task.ROTATE, station)
        smith.cut = 0
        held = (*station.held(), smith.key.passphrase)
        opening = [key for key in held if smith.opens(key) == [True, True]]
        assert opening, cut
        await change(smith, Task.ROTATE, station, opening[0])
        newest, *older = (*station.held(), smith.key.passphrase)
        assert smith.opens(newest) == [True, True]
        assert [smith.opens(key) for key in older] == [[False, False]] * len(older)
        assert smith.slots() == [1, 1]


async def test_with_an_approval_its_number_is_made_from_the_new_key(make: Make) -> None:
    smith, station = make(unlock="approval"), Station()
    await change(smith, Task.ROTATE, station)
    (new,) = station.held()
    assert smith.opens(approval.pin(new)) == [True, True]
    assert smith.opens(approval.pin(smith.key.passphrase)) == [False, False]


async def test_a_failing_program_is_told_and_the_old_key_stays(make: Make) -> None:
    smith, station = make(), Station()
    real = smith.machine.programs["cryptsetup"]

    def full(argv: Any, stdin: bytes) -> Result:
        return Result(1, b"", b"") if argv[1] == "luksAddKey" else real(argv, stdin)

    smith.machine.programs["cryptsetup"] = full
    with pytest.raises(errors.KeysUnchanged):
        await change(smith, Task.ROTATE, station)
    assert smith.opens(smith.key.passphrase) == [True, True]
    assert station.proofs == []


async def test_no_secret_is_in_a_command_line_or_the_environment(make: Make) -> None:
    smith, station = make(unlock="approval"), Station()
    await change(smith, Task.ROTATE, station)
    secrets = [smith.key.passphrase, *station.held()]
    secrets += [approval.pin(key) for key in secrets]
    lines = [" ".join(argv).encode() for argv in smith.machine.asked]
    assert lines
    assert not [line for line in lines for secret in secrets if secret in line]


async def test_volumes_that_are_not_encrypted_have_no_keys(make: Make) -> None:
    smith = make()
    smith.at("/dev/vda9").write_bytes(bytes(1 << 20))
    with pytest.raises(errors.NoSuchKeys):
        await change(smith, Task.ROTATE, Station())


# --- the TPM ------------------------------------------------------------------------------------


@pytest.mark.parametrize("unlock", ["auto", "approval"])
async def test_the_volumes_are_bound_to_the_tpm_as_it_is(make: Make, unlock: str) -> None:
    smith = make(unlock=unlock)
    areas = set()
    for _ in range(2):  # the second time the slot of the first is replaced
        await change(smith, Task.REENROLL, Station())
        header = json.loads(smith.metadata("/dev/vda9"))
        (token,) = header["tokens"].values()
        assert token["type"] == "systemd-tpm2"
        (slot,) = token["keyslots"]
        areas.add(header["keyslots"][slot]["kdf"]["salt"])
    assert len(areas) == 2, "also where the same registers were enrolled, be it with another TPM"
    argv = smith.machine.ran("systemd-cryptenroll")[-1]
    assert f"--tpm2-pcrs=7+12+15:sha256={64 * '0'}" in argv
    assert "--tpm2-public-key-pcrs=11" in argv
    assert smith.slots() == [1, 1]
    assert smith.opens(smith.key.passphrase) == [True, True]
    pin = approval.pin(smith.key.passphrase)
    assert smith.opens(pin) == [unlock == "approval"] * 2


@pytest.mark.parametrize("encryption", ["tang", "recovery-only"])
async def test_without_a_tpm_in_it_there_is_nothing_to_bind(make: Make, encryption: str) -> None:
    with pytest.raises(errors.NoSuchKeys):
        await change(make(encryption=encryption), Task.REENROLL, Station())


async def test_a_start_with_words_from_outside_is_not_bound_to(make: Make) -> None:
    smith = make()
    smith.machine.measure(12, b"w" * 32)
    with pytest.raises(errors.StartNotPure):
        await change(smith, Task.REENROLL, Station())
    assert not smith.machine.ran("systemd-cryptenroll")


async def test_an_approval_is_not_bound_to_such_a_start_either(make: Make) -> None:
    smith, station = make(unlock="approval"), Station()
    smith.machine.measure(12, b"w" * 32)
    with pytest.raises(errors.StartNotPure):
        await change(smith, Task.ROTATE, station)
    assert not station.records


@pytest.mark.parametrize("unlock", ["auto", "approval"])
async def test_a_tpm_that_does_not_work_costs_no_slot(make: Make, unlock: str) -> None:
    smith, station = make(unlock=unlock), Station()
    await change(smith, Task.REENROLL, station)
    before = smith.metadata("/dev/vda2")
    smith.machine.programs["systemd-creds"] = lambda argv, stdin: Result(1, b"", b"")
    with pytest.raises(errors.TpmUnusable):
        await change(smith, Task.REENROLL, station)
    assert smith.metadata("/dev/vda2") == before


async def test_a_tpm_that_does_not_work_is_found_before_there_is_a_new_key(make: Make) -> None:
    """What it is told by says that the disk was not touched."""
    smith, station = make(unlock="approval"), Station()
    before = [smith.metadata(device) for device in ("/dev/vda2", "/dev/vda9")]
    smith.machine.programs["systemd-creds"] = lambda argv, stdin: Result(1, b"", b"")
    with pytest.raises(errors.TpmUnusable):
        await change(smith, Task.ROTATE, station)
    assert [smith.metadata(device) for device in ("/dev/vda2", "/dev/vda9")] == before
    assert not station.records, "the operator need not keep a key for nothing"


def test_a_machine_without_a_tpm_says_so(tmp_path: Path) -> None:
    with pytest.raises(errors.TpmMissing):
        require_pure(InstalledMachine(tmp_path, tpm=False).root)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tpm2-pcrs": [7, 12]},
        {"tpm2-pin": True},
        {"tpm2-policy-hash": "00" * 32},
        {"tpm2_srk": ""},
        {"tpm2_pubkey_pcrs": []},
    ],
)
async def test_a_slot_that_would_not_open_is_found_out(make: Make, wrong: dict[str, Any]) -> None:
    smith = make()
    smith.token = {**smith.token, **wrong}
    if wrong == {"tpm2_srk": ""}:
        smith.machine.programs["tpm2_readpublic"] = lambda argv, stdin: Result(1, b"", b"")
        smith.token = {**smith.token, "tpm2_srk": "AAAA"}
    with pytest.raises(errors.BindingNotProved):
        await change(smith, Task.REENROLL, Station())
    assert smith.opens(smith.key.passphrase) == [True, True]


async def test_with_tang_the_registers_of_the_next_start_are_named(make: Make) -> None:
    import base64

    smith, said = make(encryption="tpm2+tang"), []

    def clevis(argv: Any, stdin: bytes) -> Result:
        said.append(tuple(argv))
        return Result(0, b"", b"")

    smith.machine.programs["clevis"] = clevis
    await change(smith, Task.REENROLL, Station())
    binds = [argv for argv in said if argv[2] == "bind"]
    assert [argv[5] for argv in binds] == ["/dev/vda2", "/dev/vda9"]
    pins = json.loads(binds[0][-1])["pins"]
    digest = base64.urlsafe_b64decode(pins["tpm2"]["pcr_digest"] + "=")
    assert digest == PCR7 + bytes(32) + bytes(32)
    assert pins["tang"] == [{"url": "http://tang.example"}]
