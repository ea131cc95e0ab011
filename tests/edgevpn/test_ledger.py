"""Blocks of the shared ledger: read within limits, merged without losing anybody's keys."""

from __future__ import annotations

import gzip
import json
import random
import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.edgevpn import blocktext, payload, sealing
from pairing.edgevpn.ledger import Block, Entry, Heard, Ledger, Storage, checksum
from pairing.edgevpn.limits import MAX_DATA, MAX_INDEX, MAX_PAYLOAD, MAX_PLAIN, Unreadable

NAMES = st.sampled_from(["presence", "pairing", "data", "a", "b", "é", ""])
VALUES = st.sampled_from(['""', '"ok"', '{"cc":"x"}', "no JSON", ""])
ENTRIES = st.builds(Entry, VALUES) | st.builds(
    Entry,
    VALUES,
    st.sampled_from(["", "me"]),
    st.integers(0, 2**64 - 1),
    st.just(0),
    st.booleans(),
    st.none() | st.binary(max_size=4),
).filter(lambda entry: not entry.bare)
STORAGES: st.SearchStrategy[Storage] = st.dictionaries(
    NAMES, st.dictionaries(NAMES, ENTRIES, max_size=4), max_size=4
)
BLOCKS = st.builds(
    Block,
    st.integers(0, 6),
    st.sampled_from(["", "2026-11-23 13:44:37.073941322 +0000 UTC"]),
    STORAGES,
    st.sampled_from(["", "0" * 64, "f" * 64, "not-a-hash"]),
    st.sampled_from(["", "a" * 64]),
)
OWN = st.dictionaries(st.tuples(NAMES, NAMES), VALUES, max_size=4)


def packed(body: Any) -> bytes:
    return gzip.compress(json.dumps(body).encode())


def body(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "Index": 1, "Timestamp": "t", "Storage": {"a": {"b": '"c"'}}, "Hash": "h", "PrevHash": "p",
    }  # fmt: skip
    return {**good, **changes}


@given(BLOCKS)
def test_round_trip(block: Block) -> None:
    assert blocktext.from_bytes(blocktext.to_bytes(block)) == block


@given(st.binary(max_size=300))
def test_rubbish_is_unreadable(data: bytes) -> None:
    for read in (blocktext.from_bytes, lambda d: blocktext.from_bytes(gzip.compress(d))):
        with pytest.raises(Unreadable):
            read(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.sampled_from(["Index", "Timestamp", "Storage", "Hash", "PrevHash"]), JSON)
def test_strange_fields_are_unreadable_or_harmless(name: str, value: Any) -> None:
    try:
        block = blocktext.from_bytes(packed(body(**{name: value})))
    except Unreadable:
        return
    checksum(block)
    assert blocktext.from_bytes(blocktext.to_bytes(block)) == block


@pytest.mark.parametrize(
    "changes",
    [
        {"Index": 2**63 - 1},
        {"Index": MAX_INDEX},
        {"Index": -1},
        {"Index": True},
        {"Index": 1.0},
        {"Index": None},
        {"Storage": {"a": {"b": 1}}},
        {"Storage": {"a": {"b": None}}},
        {"Storage": {"a": ["b"]}},
        {"Storage": "text"},
        {"Storage": {"a": {"b": "\ud800"}}},
        {"Storage": {"a" * 257: {}}},
        {"Storage": {"a": {str(n): "" for n in range(10_000)}}},
        {"Storage": {str(n): {} for n in range(10_001)}},
        {"Storage": {"a": {"b": {"Value": 1}}}},
        {"Storage": {"a": {"b": {"Value": "", "Deleted": "yes"}}}},
        {"Storage": {"a": {"b": {"Value": "", "Version": 2**64}}}},
        {"Storage": {"a": {"b": {"Value": "", "Sig": "*"}}}},
        {"Hash": "h" * 257},
        {"Timestamp": 5},
    ],
)
def test_hostile_blocks(changes: dict[str, Any]) -> None:
    assert blocktext.from_bytes(packed(body())).index == 1  # the positive control
    with pytest.raises(Unreadable):
        blocktext.from_bytes(packed(body(**changes)))


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"[" + b" " * (64 << 20) + b"]")
    assert len(bomb) < 100_000
    with pytest.raises(Unreadable):
        blocktext.from_bytes(bomb)
    just = json.dumps(body()).encode()
    assert blocktext.from_bytes(gzip.compress(just + b" " * (MAX_PLAIN - len(just)))).index == 1
    with pytest.raises(Unreadable):
        blocktext.from_bytes(gzip.compress(just + b" " * (MAX_PLAIN - len(just) + 1)))


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000])
def test_deep_json(deep: str) -> None:
    with pytest.raises(Unreadable):
        blocktext.from_bytes(gzip.compress(deep.encode()))
    with pytest.raises(Unreadable):
        sealing.unseal(deep.encode(), [b"k" * 32])
    with pytest.raises(errors.KairosPayloadInvalid):
        payload.from_json(deep)


def test_a_huge_number_and_a_second_member() -> None:
    with pytest.raises(Unreadable):
        blocktext.from_bytes(gzip.compress(b'{"Index":' + b"9" * 10_000 + b"}"))
    good = packed(body())
    for data in (good + good, good + b"x", good[:-1]):
        with pytest.raises(Unreadable):
            blocktext.from_bytes(data)


def test_a_forged_hash_is_read_for_nobody_else_checks_it() -> None:
    block = blocktext.from_bytes(packed(body(Index=1000, Hash="not-a-hash")))
    assert block.hash == "not-a-hash"


# --- adopt, merge, put back ---------------------------------------------------------------------


def holder(own: dict[tuple[str, str], str], block: Block) -> Ledger:
    """A peer that has written `own` and has heard `block`."""
    ledger = Ledger(0)
    for (bucket, key), value in own.items():
        ledger.write(bucket, key, value, 0)
    ledger.hear(block, 0)
    return ledger


def has_own(storage: Storage, own: dict[tuple[str, str], str]) -> bool:
    return all(
        key in storage.get(bucket, {})
        and storage[bucket][key].value == value
        and not storage[bucket][key].deleted
        for (bucket, key), value in own.items()
    )


@given(OWN, st.lists(BLOCKS, max_size=6))
def test_own_keys_always_come_back_and_the_height_never_falls(
    own: dict[tuple[str, str], str], blocks: list[Block]
) -> None:
    ledger = holder(own, Block(0, "", {}))
    for block in blocks:
        before = ledger.block
        heard = ledger.hear(block, 1)
        after = ledger.block
        assert after.index >= before.index
        assert has_own(after.storage, own)
        assert (heard in (Heard.NOTHING, Heard.BEHIND)) == (after == before)
        if heard is Heard.WROTE:
            assert after.index > max(before.index, block.index)
            assert after.hash == checksum(after)
        if heard is Heard.BEHIND:
            assert block.index < before.index
        assert ledger.hear(after, 2) is Heard.NOTHING


def keys_of(storage: Storage) -> set[tuple[str, str]]:
    return {(bucket, key) for bucket, entries in storage.items() for key in entries}


@given(OWN, BLOCKS, BLOCKS)
def test_nobody_loses_a_key_at_the_same_height(
    own: dict[tuple[str, str], str], first: Block, second: Block
) -> None:
    ledger = holder(own, first)
    before = ledger.block
    same = Block(before.index, second.timestamp, second.storage, second.hash, second.prev_hash)
    ledger.hear(same, 1)
    assert keys_of(ledger.block.storage) >= keys_of(before.storage) | keys_of(same.storage)


@given(OWN, BLOCKS)
def test_a_higher_block_stands_with_our_keys_in_it(
    own: dict[tuple[str, str], str], block: Block
) -> None:
    ledger = holder(own, Block(0, "", {}))
    higher = Block(ledger.block.index + 1, "", block.storage, block.hash)
    ledger.hear(higher, 1)
    others = {
        (b, k, e) for b, es in block.storage.items() for k, e in es.items() if (b, k) not in own
    }
    found = {(b, k, e) for b, es in ledger.block.storage.items() for k, e in es.items()}
    assert others <= found


@given(OWN, OWN, st.integers(0, 20))
def test_two_that_hear_each_other_agree_soon(
    mine: dict[tuple[str, str], str], yours: dict[tuple[str, str], str], ahead: int
) -> None:
    """As long as they do not own the same key with two values: then nobody would ever agree."""
    yours = {place: value for place, value in yours.items() if place not in mine}
    one, two = holder(mine, Block(ahead, "", {})), holder(yours, Block(0, "", {}))
    for _ in range(6):
        two.hear(one.block, 1)
        one.hear(two.block, 1)
    assert one.block.storage == two.block.storage
    assert has_own(one.block.storage, mine | yours)


def test_withdrawing_takes_out_only_what_is_ours() -> None:
    ledger = holder({("presence", "me"): '""'}, Block(4, "", {"presence": {"you": Entry('""')}}))
    assert set(ledger.block.values("presence")) == {"me", "you"}
    height = ledger.block.index
    assert ledger.withdraw(1)
    assert set(ledger.block.values("presence")) == {"you"}
    assert ledger.block.index == height + 1
    assert not ledger.withdraw(1)


def test_a_flood_at_one_height_stays_within_limits() -> None:
    ledger = holder({("presence", "me"): '""'}, Block(0, "", {}))
    for round_ in range(60):
        flood = {f"k{round_}-{n}": Entry("x" * 100) for n in range(1000)}
        ledger.hear(Block(ledger.block.index, "", {"b": flood}, "0"), 1)
    assert blocktext.from_bytes(blocktext.to_bytes(ledger.block)) == ledger.block
    assert has_own(ledger.block.storage, {("presence", "me"): '""'})


def test_values_hide_what_is_marked_as_deleted() -> None:
    block = Block(1, "", {"a": {"x": Entry("1"), "y": Entry("", "me", 1, 1, True, b"s")}})
    assert block.values("a") == {"x": "1"}
    assert block.values("none") == {}


def test_no_value_in_a_representation() -> None:
    ledger = holder({("pairing", "data"): '"canary"'}, Block(0, "", {}))
    assert "canary" not in repr(ledger.block) + repr(ledger)


# --- sealing ------------------------------------------------------------------------------------

KEYS = st.binary(min_size=32, max_size=32)


@given(st.binary(max_size=200), KEYS, KEYS, st.binary(min_size=12, max_size=12))
def test_sealing(plain: bytes, key: bytes, other: bytes, nonce: bytes) -> None:
    data = sealing.seal(plain, key, nonce)
    assert sealing.unseal(data, [other, key]) == plain
    if key != other:
        with pytest.raises(Unreadable):
            sealing.unseal(data, [other])
    with pytest.raises(Unreadable):
        sealing.unseal(data, [])


@given(st.binary(max_size=300))
def test_unsealing_rubbish(data: bytes) -> None:
    with pytest.raises(Unreadable):
        sealing.unseal(data, [b"k" * 32])


@given(st.integers(0), st.integers(0, 15))
def test_a_changed_digit_is_noticed(place: int, digit: int) -> None:
    message = json.loads(sealing.seal(b"plain", b"k" * 32, b"n" * 12))
    text = message["Message"]
    at = place % len(text)
    changed = text[:at] + f"{digit:x}" + text[at + 1 :]
    message["Message"] = changed
    if changed == text:
        return
    with pytest.raises(Unreadable):
        sealing.unseal(json.dumps(message).encode(), [b"k" * 32])


def test_a_message_of_20_megabytes_is_not_looked_at() -> None:
    key = b"k" * 32
    large = sealing.seal(secrets.token_bytes(10 << 20), key, b"n" * 12)
    assert len(large) > MAX_DATA
    with pytest.raises(Unreadable, match="large"):
        sealing.unseal(large, [key])


@pytest.mark.parametrize(
    "data", [b"{}", b"[]", b'{"Message":5}', b'{"Message":""}', b'{"Message":"zz"}', b"null"]
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(Unreadable):
        sealing.unseal(data, [b"k" * 32])


# --- payload ------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(TEXTS, st.sampled_from(["", "/dev/sda"]), st.booleans(), st.booleans())
def test_payload_round_trip(config: str, device: str, reboot: bool, poweroff: bool) -> None:
    sent = payload.Payload(config, device, reboot, poweroff)
    text = payload.to_json(sent)
    assert payload.from_json(text) == sent
    assert set(json.loads(text)) == {"cc", "device"} | ({"reboot"} if reboot else set()) | (
        {"poweroff"} if poweroff else set()
    )


def test_a_payload_has_a_limit() -> None:
    payload.to_json(payload.Payload("x" * (MAX_PAYLOAD - 100)))
    for config in ("x" * MAX_PAYLOAD, "é" * (MAX_PAYLOAD // 2), '"' * (MAX_PAYLOAD // 2)):
        with pytest.raises(errors.KairosConfigTooLarge):
            payload.to_json(payload.Payload(config))
    with pytest.raises(errors.KairosPayloadInvalid):
        payload.from_json(json.dumps({"cc": "x" * MAX_PAYLOAD}))


@pytest.mark.parametrize(
    "text",
    [
        "", "no JSON", "[]", "{}", '{"cc": 5}', '{"cc": ""}', '{"cc": "x", "device": 5}', "null",
        '{"cc": "x", "device": "a\\nb"}', '{"cc": "\\ud800"}', '"ok"',
        '{"cc": "x", "device": null}',
    ],
)  # fmt: skip
def test_what_is_no_payload(text: str) -> None:
    with pytest.raises(errors.KairosPayloadInvalid):
        payload.from_json(text)


@pytest.mark.parametrize(
    "letters",
    [
        pytest.param("".join(map(chr, range(32, 127))), id="plain"),
        pytest.param('"\\', id="escaped twice"),
        pytest.param("".join(map(chr, range(0x4E00, 0x9000))), id="three bytes"),
        pytest.param("".join(map(chr, range(0x1F300, 0x1F900))), id="four bytes"),
        pytest.param("".join(map(chr, range(1, 32))), id="control characters"),
    ],
)
def test_the_largest_config_gets_through(letters: str) -> None:
    """py-libp2p's peers queue 1 MiB for one another, and hex doubles what is sealed."""
    chance, config = random.Random(1), ""
    while True:
        try:
            text = payload.to_json(payload.Payload(config or "x"))
        except errors.KairosConfigTooLarge:
            break
        config += "".join(chance.choices(letters, k=4096))
    assert len(text.encode()) > MAX_PAYLOAD * 0.9
    ledger = Ledger(0)
    ledger.write("pairing", "data", text, 0)
    data = sealing.seal(blocktext.to_bytes(ledger.block), b"k" * 32, b"n" * 12)
    assert len(data) < 2**20
    assert blocktext.from_bytes(sealing.unseal(data, [b"k" * 32])) == ledger.block
