"""Host keys and machine id: made at the first start, and the same at every later one."""

from __future__ import annotations

from pathlib import Path

from node.plan.boot import KeepIdentity
from node.system.keeping import KEY_TYPES, Keeper
from node.testing.installed import InstalledMachine

KEPT = "usr/local/.kairos/identity"
HOST_KEYS = [f"ssh_host_{kind}_key{end}" for kind in KEY_TYPES for end in ("", ".pub")]


def keep(machine: InstalledMachine) -> dict[str, bytes]:
    """What lies in /etc/ssh afterwards."""
    Keeper(machine.root, machine.run).keep_identity(KeepIdentity())
    return {path.name: path.read_bytes() for path in (machine.root / "etc/ssh").iterdir()}


def test_host_keys_and_machine_id_stay_the_same(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path)
    keys = keep(machine)
    assert sorted(keys) == sorted(HOST_KEYS)
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
    for left in (tmp_path / "etc/ssh").iterdir():
        left.unlink()
    machine.write("etc/machine-id", 32 * "b" + "\n")  # a firmware without an id of its own
    assert keep(machine) == keys
    assert (tmp_path / "etc/machine-id").read_text() == 32 * "a" + "\n"


def test_host_keys_without_content_are_made_anew(tmp_path: Path) -> None:
    """What a power cut leaves of files that nobody flushed: names."""
    machine = InstalledMachine(tmp_path)
    for name in HOST_KEYS:
        machine.write(f"{KEPT}/{name}", "")
    assert all(keep(machine).values())
    assert all((tmp_path / KEPT / name).read_bytes() for name in HOST_KEYS)
