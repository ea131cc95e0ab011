"""Facts cross the wire and come back; hostile ones are refused by the name of the field."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.facts import recorded
from pairing import errors
from pairing.facts import Disk, Facts, Image, Nic, Tpm, facts_text, from_json

TEXT = st.text(max_size=200)
NUMBER = st.integers(0, 2**53 - 1)
TEXTS = st.lists(TEXT, max_size=4).map(tuple)
FLAG = st.booleans()
DISK = st.builds(
    Disk, path=TEXT, size=NUMBER, model=TEXT, serial=TEXT, transport=TEXT, by_id=TEXTS,
    sector=NUMBER, removable=FLAG, rotational=FLAG, read_only=FLAG, in_use=FLAG, booted=FLAG,
    content=TEXTS,
)  # fmt: skip
NIC = st.builds(Nic, name=TEXT, mac=TEXT, link=FLAG, speed=NUMBER, addresses=TEXTS)
TPM = st.builds(Tpm, version=TEXT, vendor=TEXT, ek_hash=TEXT)
IMAGE = st.builds(
    Image, version=TEXT, arch=TEXT, root=NUMBER, verity=NUMBER, kernel=NUMBER, roothash=TEXT,
    secure_boot=TEXT, policies=FLAG,
)  # fmt: skip
FACTS = st.builds(
    Facts, serial=TEXT, vendor=TEXT, product=TEXT, uuid=TEXT, arch=TEXT, cpu=TEXT, cores=NUMBER,
    memory=NUMBER, firmware=TEXT, secure_boot=TEXT, tpm=st.none() | TPM,
    disks=st.lists(DISK, max_size=3).map(tuple), nics=st.lists(NIC, max_size=3).map(tuple),
    medium=TEXT, image=st.none() | IMAGE, mode=TEXT, clock=NUMBER, schema=NUMBER,
)  # fmt: skip
JSON = st.recursive(
    st.none() | FLAG | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = [
    "serial", "cores", "memory", "tpm", "image", "disks", "nics", "clock", "schema", "mode",
    "firmware", "secure_boot",
]  # fmt: skip


@given(facts=FACTS)
def test_round_trip(facts: Facts) -> None:
    text = json.dumps(facts.to_json())
    again = from_json(json.loads(text))
    assert again == facts
    assert again.unknown == {}


@given(facts=FACTS)
def test_any_facts_can_be_shown(facts: Facts) -> None:
    lines = facts_text(facts)
    assert len(lines) >= 9
    assert len([line for line in lines if line.startswith("disk")]) >= len(facts.disks)


@given(body=st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON)
def test_wrong_types_never_raise_anything_but_value_error(body: Any) -> None:
    with contextlib.suppress(ValueError):
        facts = from_json(body)
        assert from_json(facts.to_json()) == facts


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"cores": True}, "cores"),
        ({"cores": -1}, "cores"),
        ({"memory": 2**53}, "memory"),
        ({"memory": 1.0}, "memory"),
        ({"serial": "x" * 201}, "serial"),
        ({"serial": None}, "serial"),
        ({"disks": [{"path": "/dev/sda", "size": "1"}]}, "disks[0].size"),
        ({"disks": [{"path": "/dev/sda"}]}, "disks[0].size"),
        ({"disks": [{"path": "/dev/sda", "size": 1, "in_use": 1}]}, "disks[0].in_use"),
        ({"disks": [{"path": "/dev/sda", "size": 1, "content": [7]}]}, "disks[0].content[0]"),
        ({"disks": [{"path": "/dev/x", "size": 1}] * 65}, "disks"),
        ({"nics": {"name": "eth0"}}, "nics"),
        ({"nics": [{"name": "eth0"}]}, "nics[0].mac"),
        ({"tpm": {}}, "tpm.version"),
        ({"tpm": "2.0"}, "tpm"),
        ({"new": "x" * 3000}, "new"),
        ({f"new{number}": 1 for number in range(17)}, "16"),
        ({"n" * 201: 1}, "name"),
    ],
)
def test_the_wrong_field_is_named(body: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=r"^facts ") as refused:
        from_json(body)
    assert named in str(refused.value)


def test_what_a_newer_node_says_is_kept_but_does_not_count() -> None:
    facts = from_json({"serial": "1", "gpus": [{"name": "new"}], "disks": []})
    assert facts.unknown == {"gpus": [{"name": "new"}]}
    assert facts == Facts(serial="1")
    assert "gpus" not in facts.to_json()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ("", "Expecting value"),
        ("[]", "not a map"),
        ('{"cores": "four"}', "cores"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_bad_machine_file_is_a_usage_error(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "m.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(errors.MachineFileInvalid, match=said) as wrong:
        recorded(path)
    assert wrong.value.exit_code == errors.ExitCode.USAGE
    assert str(path) in str(wrong.value)
