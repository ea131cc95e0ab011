"""Plans of installations: golden ones for recorded machines, and the laws that keep data safe.

`UPDATE_GOLDEN=1 pytest tests/node/test_install_plan.py` writes the golden plans anew.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.facts import recorded
from node.plan.install import InstallOptions, layout, plan_install, smallest_disk
from node.steps import (
    STEP_TYPES,
    BindApproval,
    BindTang,
    CheckDisk,
    EscrowKey,
    MakeVolumes,
    MarkComplete,
    Plan,
    ProveKey,
    SetBootEntries,
    WipeTables,
    WriteDisk,
)
from pairing import errors
from pairing.config.document import Document, from_plain
from pairing.config.load import load_file
from pairing.config.problem import Mark
from pairing.config.template import node_values, render
from pairing.facts import Disk, Facts, Image, Nic, Tpm

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/data/plans"
IMAGE = Image(version="1.4.0", root=700 * 2**20, verity=6 * 2**20, kernel=90 * 2**20, policies=True)
MACHINES = {
    path.stem: replace(recorded(path), image=IMAGE)
    for path in sorted((ROOT / "examples/machines").glob("*.json"))
}
EXAMPLES = ROOT / "examples/configs"
MORE: dict[str, dict[str, Any]] = {"wipe": {"wipe": True}, "by-hand": {"encrypt": "recovery-only"}}
NAMES = [*(path.stem for path in sorted(EXAMPLES.glob("*.yaml"))), *MORE]
VALUES = {"shop": "porto-3", "city": "Porto", "k3s_token": "K10example"}
TANG = {"mode": "tpm2+tang", "tang": "http://tang.example"}
ELSEWHERE = ("bind-approval", "clear-boot", "fill-boot", "check-data", "keep-data")
MIB = 2**20
OPTIONS = InstallOptions(recipients=("amber-otter", "blue-heron"))


def document(value: dict[str, Any]) -> Document:
    return Document(from_plain(value, Mark("config.yaml", 1, 1)))


def silent(**install: Any) -> Document:
    return document({"hostname": "shop-17", "install": install})


def outcome(facts: Facts, config: Document) -> str:
    """The plan's text, or the error as the operator sees it, without places in the file."""
    try:
        return "\n".join(plan_install(facts, config, OPTIONS).text) + "\n"
    except errors.KnownError as refused:
        said = re.sub(r"\S+\.yaml:\d+:\d+: ", "", str(refused))
        return f"exit {int(refused.exit_code)} {refused.slug}\n{said}\n"


def golden(machine: str, config: str) -> Path:
    return GOLDEN / f"{machine}-{config}.txt"


def config_for(name: str, facts: Facts) -> Document:
    """An example of `examples/configs`, filled in for this machine, or one of `MORE`."""
    if name in MORE:
        return silent(**MORE[name])
    return render(load_file(EXAMPLES / f"{name}.yaml"), node_values(facts), VALUES)


@pytest.mark.parametrize("config", NAMES)
@pytest.mark.parametrize("machine", MACHINES)
def test_golden(machine: str, config: str) -> None:
    path, facts = golden(machine, config), MACHINES[machine]
    text = outcome(facts, config_for(config, facts))
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


def test_golden_plans_are_complete_and_tell_something() -> None:
    expected = {golden(machine, config).name for machine in MACHINES for config in NAMES}
    assert {path.name for path in GOLDEN.iterdir()} == expected
    first = [path.read_text().split("\n", 1)[0] for path in GOLDEN.iterdir()]
    assert {"exit 3 config-machine", "exit 11 disk-not-chosen"} <= set(first)
    planned = [line for line in first if line.startswith("machine: ")]
    assert len(planned) >= 20
    assert len(set(planned)) >= 6, "most recorded machines can be installed with some example"


# --- laws ---------------------------------------------------------------------------------------

FLAG = st.booleans()
MODES: dict[str, Any] = {
    "silent": None,
    "tpm2": "tpm2",
    "recovery-only": "recovery-only",
    "none": "none",
    "tang": {"mode": "tang", "tang": "http://t"},
    "approval": {"mode": "tpm2", "unlock": "approval"},
    "tpm2+tang": {"mode": "tpm2+tang", "tang": "http://t"},
}
GOOD = Disk(
    path="/dev/sda",
    size=256 * 10**9,
    serial="A",
    transport="sata",
    by_id=("/dev/disk/by-id/ata-A",),
)
DATA = ("gpt", 'ntfs "Data"')
BAD_DISK: list[dict[str, Any]] = [
    {"in_use": True},
    {"removable": True},
    {"read_only": True},
    {"transport": "usb"},
    {"content": DATA},
    {"content": ("unreadable",)},
    {"size": 2**30},
    {"size": 5 * 2**30},
]
BAD_MACHINE: list[dict[str, Any]] = [
    {"firmware": "bios"},
    {"firmware": "devicetree", "arch": "aarch64"},
    {"mode": "installed"},
    {"tpm": None},
    {"nics": ()},
    {"secure_boot": "off"},
]
"""What may be wrong or unusual: one or two at a time, so that many plans are made."""
FAULTS = st.lists(st.sampled_from(BAD_MACHINE), max_size=1)


@st.composite
def machines(draw: st.DrawFn) -> Facts:
    disks = [replace(GOOD, **draw(st.sampled_from([{}, {}, {}, *BAD_DISK])))]
    for index, change in enumerate(draw(st.lists(st.sampled_from(BAD_DISK), max_size=3))):
        name = "bcd"[index]
        disk = replace(GOOD, path=f"/dev/sd{name}", serial=name, by_id=(f"/dev/disk/by-id/{name}",))
        disks.append(replace(disk, **change))
    facts = Facts(
        serial="1",
        firmware="uefi",
        image=IMAGE,
        secure_boot="on",
        tpm=Tpm(version="2.0"),
        disks=tuple(draw(st.permutations(disks))),
        nics=(Nic(name="e", mac="m", link=True),),
    )
    for change in draw(FAULTS):
        facts = replace(facts, **change)
    return facts


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    install = {
        "wipe": draw(FLAG),
        "encrypt": MODES[draw(st.sampled_from(list(MODES)))],
        "device": draw(st.sampled_from([None, "auto", "/dev/sda", "/dev/disk/by-id/b"])),
    }
    said = {key: value for key, value in install.items() if value is not None}
    return {"hostname": "h", "install": said}


def planned(facts: Facts, config: dict[str, Any]) -> Plan | None:
    try:
        return plan_install(facts, document(config), OPTIONS)
    except (errors.ConfigNotForThisMachine, errors.DiskNotChosen):
        return None


def test_laws_of_every_plan() -> None:
    made: Counter[str] = Counter()

    @settings(max_examples=400, deadline=None)
    @given(facts=machines(), config=configs())
    def laws(facts: Facts, config: dict[str, Any]) -> None:
        plan = planned(facts, config)
        if plan is None:
            return
        made[plan.encryption] += 1
        check_disk_laws(plan, facts, config)
        check_order_laws(plan)
        check_encryption_laws(plan, facts, config)
        again = planned(facts, json.loads(json.dumps(config)))
        assert again is not None
        assert (again, again.digest) == (plan, plan.digest)

    laws()
    assert set(made) == {*MODES} - {"silent", "approval"}, "the laws were tried on every mode"
    assert made.total() >= 30, "and on many plans"


def check_disk_laws(plan: Plan, facts: Facts, config: dict[str, Any]) -> None:
    disk = plan.disk
    assert disk in facts.disks
    assert {path for step in plan.steps if (path := getattr(step, "disk", None))} == {disk.path}
    assert (disk.in_use, disk.removable, disk.read_only) == (False, False, False)
    named = config["install"].get("device") in (disk.path, *disk.by_id)
    assert named or disk.transport != "usb", "a disk at USB may be somebody's backup"
    assert config["install"]["wipe"] or not disk.content
    assert disk.size >= smallest_disk(layout(IMAGE, encrypted=True))
    others = [other.path for other in facts.disks if other is not disk]
    assert not any(other in line for other in others for line in plan.text)


def check_order_laws(plan: Plan) -> None:
    names = [step.name for step in plan.steps]
    table = [name for name in STEP_TYPES if name in names]
    assert names == table, "each at most once, in the documented order"
    assert isinstance(plan.steps[-1], MarkComplete)
    destructive = [index for index, step in enumerate(plan.steps) if step.destructive]
    before = [type(step) for step in plan.steps[: destructive[0]]]
    assert CheckDisk in before
    if plan.encryption != "none":
        assert before[-2:] == [EscrowKey, MakeVolumes]
    assert isinstance(plan.steps[destructive[0]], WipeTables)


def check_encryption_laws(plan: Plan, facts: Facts, config: dict[str, Any]) -> None:
    asked = config["install"].get("encrypt")
    mode = asked["mode"] if isinstance(asked, dict) else asked
    approval = isinstance(asked, dict) and "unlock" in asked
    assert plan.encryption == (mode or "tpm2"), "never weaker than asked"
    assert facts.tpm or "tpm2" not in plan.encryption
    kinds = {type(step): step for step in plan.steps}
    write = kinds[WriteDisk]
    assert isinstance(write, WriteDisk)
    encrypted = {part.label for part in write.partitions if part.encrypted}
    assert encrypted == (set() if mode == "none" else {"KR_OEM", "KR_PERSISTENT"})
    assert (ProveKey in kinds) == (EscrowKey in kinds) == (mode != "none")
    assert (MakeVolumes in kinds) == (mode != "none")
    assert (BindTang in kinds) == ("tang" in plan.encryption)
    alone = plan.encryption == "tpm2" and not approval
    made = kinds.get(MakeVolumes, MakeVolumes(volumes=(), tpm=False))
    assert isinstance(made, MakeVolumes)
    assert made.tpm == alone, "with Tang or approval the TPM alone must not open it"
    assert set(made.volumes) == encrypted
    assert (BindApproval in kinds) == approval
    assert (made.pcrs == (7, 12, 15)) == made.tpm
    assert (SetBootEntries in kinds) == (facts.firmware == "uefi")


@given(root=st.integers(0, 8 * 2**30), kernel=st.integers(0, 2**28), encrypted=FLAG)
def test_slots_have_room_for_the_next_image(root: int, kernel: int, encrypted: bool) -> None:
    parts = layout(
        Image(version="1", root=root, verity=root // 100, kernel=kernel), encrypted=encrypted
    )
    slots = [part.size for part in parts if part.kind == "root"]
    assert len(slots) == 2
    assert all(size >= max(2 * root, 384 * MIB) for size in slots)
    assert [part.size for part in parts].count(0) == 1
    assert parts[-1].size == 0, "the rest of the disk is the last partition"
    assert all(part.size % (4 * MIB) == 0 for part in parts)
    assert parts[0].kind == "esp"
    assert parts[0].size >= 6 * kernel, "two slots, recovery and one that is being written"


def test_a_plan_depends_on_what_it_is_made_of() -> None:
    facts, config = MACHINES["virtio-vm"], silent()
    plan = plan_install(facts, config, OPTIONS)
    other = plan_install(replace(facts, serial="other"), config, OPTIONS)
    assert plan.digest != other.digest
    assert plan_install(facts, config).digest != plan.digest


def test_the_manifest_names_the_disk() -> None:
    facts, config = MACHINES["virtio-vm"], silent()
    named = replace(OPTIONS, device="/dev/vda")
    assert plan_install(facts, config, named).disk.path == "/dev/vda"
    with pytest.raises(errors.ConfigNotForThisMachine, match="released for /dev/vdz"):
        plan_install(facts, config, replace(OPTIONS, device="/dev/vdz"))


def test_in_the_recovery_system_its_own_disk_is_meant() -> None:
    disk = replace(GOOD, booted=True, in_use=True, content=("gpt", 'vfat "KR_ESP"'))
    other = replace(GOOD, path="/dev/sdb", serial="B", by_id=())
    facts = replace(MACHINES["virtio-vm"], mode="recovery", disks=(other, disk))
    with pytest.raises(errors.ConfigNotForThisMachine, match=r"install\.wipe"):
        plan_install(facts, silent(), OPTIONS)
    plan = plan_install(facts, silent(wipe=True), OPTIONS)
    assert (plan.kind, plan.disk) == ("reinstall", disk)
    names = [step.name for step in plan.steps]
    assert names == [name for name in STEP_TYPES if name in names]
    assert {"clear-boot", "fill-boot"} <= set(names)
    assert "wipe-tables" not in names
    live = replace(facts, mode="live", disks=(disk,))
    with pytest.raises(errors.ConfigNotForThisMachine, match="in use"):
        plan_install(live, silent(wipe=True), OPTIONS)  # the control: only recovery may


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mode": "installed"}, "its own disk"),
        ({"firmware": "bios"}, "UEFI"),
        ({"arch": "aarch64"}, "image is for x86_64"),
        ({"image": replace(IMAGE, policies=False)}, "no key for signed policies"),
    ],
)
def test_machines_that_cannot_be_installed(change: dict[str, str], said: str) -> None:
    facts = replace(MACHINES["virtio-vm"], **change)  # type: ignore[arg-type]
    if "arch" in change:
        facts = replace(facts, image=replace(IMAGE, arch="x86_64"))
    with pytest.raises(errors.ConfigNotForThisMachine, match=said):
        plan_install(facts, silent(), OPTIONS)


def test_a_disk_too_small_for_this_image_is_refused() -> None:
    facts = replace(MACHINES["virtio-vm"], image=replace(IMAGE, root=3 * 2**30))
    with pytest.raises(errors.ConfigNotForThisMachine, match="are needed"):
        plan_install(facts, silent(), OPTIONS)


def test_a_plan_is_json_and_holds_every_step() -> None:
    plan = plan_install(MACHINES["pc-with-windows"], silent(wipe=True, encrypt=TANG), OPTIONS)
    body = json.loads(json.dumps(plan.to_json()))
    assert [step["step"] for step in body["steps"]] == [
        name for name in STEP_TYPES if name not in ELSEWHERE
    ], "a Tang server opens without approval, and this is no recovery system"
    assert all(step.text and step.weight > 0 and step.seconds > 0 for step in plan.steps)
