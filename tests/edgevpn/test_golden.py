"""Vectors of the real Go programs (`tests/data/edgevpn.json`), read without any network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pairing.edgevpn import blocktext, ledger, nettoken, payload, sealing
from pairing.edgevpn.ledger import Block, Entry
from pairing.edgevpn.names import names_at
from pairing.edgevpn.otp import totp

V: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "edgevpn.json").read_text(encoding="utf-8")
)
TOKEN = nettoken.parse(V["token"])


def message() -> bytes:
    body = {"Message": V["message"], "SenderID": "", "Annotations": None}
    return json.dumps(body).encode()


def captured() -> Block:
    key = names_at(TOKEN, 0).seal_key
    return blocktext.from_bytes(sealing.unseal(message(), [key]))


def test_the_token_that_kairos_makes() -> None:
    assert len(V["token"]) == 548
    assert TOKEN.crypto.key == "b" * 43
    assert TOKEN.dht is not None
    assert TOKEN.dht.key == "a" * 43
    assert (TOKEN.room, TOKEN.rendezvous, TOKEN.mdns) == ("c" * 43, "d" * 43, "e" * 43)
    assert TOKEN.crypto.interval == 2**63 - 1
    assert TOKEN.max_message_size == 20 << 20
    assert not TOKEN.rotates
    assert nettoken.to_full_text(TOKEN) == V["token"]


def test_names_and_key() -> None:
    names = names_at(TOKEN, 1_700_000_000)
    assert totp(TOKEN.room, 43, 2**63 - 1, 1_700_000_000) == V["totp_room"]
    assert names.topic == V["topic"]
    assert names.seal_key == V["seal_key"].encode()
    assert names.rendezvous == V["rendezvous"]
    # What a DHT stores it under: multihash of SHA-256.
    key = "1220" + hashlib.sha256(names.rendezvous.encode()).hexdigest()
    assert key == "12204e1e7f5736dc0bf632446b1f74913572efbe431533c423f90f503494eaf956ed"


def test_names_of_a_token_that_rotates() -> None:
    token, unix = nettoken.parse(V["rotating"]["token"]), V["rotating"]["unix"]
    assert token.rotates
    assert names_at(token, unix).topic == V["rotating"]["topic"]
    assert names_at(token, unix).seal_key == V["rotating"]["seal_key"].encode()


def test_a_real_sender_is_understood() -> None:
    block, peer = captured(), V["block"]["peer"]
    assert (block.index, block.timestamp) == (3, V["block"]["timestamp"])
    assert block.values("healthcheck") == {peer: V["block"]["healthcheck"]}
    assert block.values("presence") == {peer: '""'}
    assert block.values("pairing") == {"data": V["block"]["data"]}
    sent = payload.from_json(block.values("pairing")["data"])
    assert sent == payload.Payload("#cloud-config\nhostname: n1\n", "/dev/sda")


def test_the_hash_of_a_real_block() -> None:
    block = captured()
    assert ledger.checksum(block) == block.hash == V["block"]["hash"]
    assert block.prev_hash == V["block"]["prev_hash"]


def test_a_block_is_sealed_as_go_does() -> None:
    """The same nonce gives the same envelope around the same compressed bytes."""
    key, nonce = names_at(TOKEN, 0).seal_key, bytes.fromhex(V["message"])[:12]
    packed = sealing.unseal(message(), [key])
    assert json.loads(sealing.seal(packed, key, nonce)) == json.loads(message())
    assert blocktext.from_bytes(blocktext.to_bytes(captured())) == captured()


def test_both_hashes_as_gos_print_makes_them() -> None:
    """Computed by Go 1.26 from structs of the same shape: signed entries, order, other letters."""
    signed = Entry('{"q":"\\"<&>"}', "me", 7, 1_700_000_000, True, b"\x01\x02\xff")
    storage = {
        "presence": {"b": Entry('""'), "a": Entry('"x y"')},
        "empty": {},
        "é": {"k": signed},
    }
    block = Block(12, "2026-11-23 13:44:37.073941322 +0000 UTC", storage, prev_hash="abc")
    new = "4a319c5d8f7015791373f7a0fb6fc6e9cf854524b56912c1599eb8c563b8dfec"
    old = "82be998b11109e7f7e427769c138f4a2b54d2c67095167e0b51a500a2701880a"
    assert ledger.checksum(block) == new
    assert ledger.checksum(block, plain=True) == old
    first = "993c923422cd134b6aad0235ebfd4290a7b27b83d1bcd6b1fb2addc4b45b2fa6"
    assert ledger.Ledger(1_700_000_000).block.hash == first


def test_a_time_as_go_says_it() -> None:
    assert ledger.go_time(1_700_000_000.25) == "2023-11-14 22:13:20.250000000 +0000 UTC"
