"""Why a volume stays locked, against headers, keys and signatures that real tools made."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.plan.boot import OpenVolume
from node.plan.header import TpmToken, read_header
from node.plan.locked import SignedPolicy, TpmView, why_locked
from node.plan.tpmpolicy import ZERO, key_fingerprint, pcr_policy, sealing_policy
from node.system.opening import Opener
from node.testing.installed import InstalledMachine
from pairing import errors

DATA = Path(__file__).resolve().parents[1] / "data" / "volumes"
PCR7 = bytes.fromhex("8878b15a7d6a3a4f464e8f9f42591dbc0cf4bedea0ec309003d2b2ee53655ef8")
PCR11 = bytes.fromhex("8b4fecab2df01d837d750537492a6b3a93ceb89c5f4e35e406a364b9d81a2e4e")
TOKEN = read_header((DATA / "tpm2.json").read_bytes()).tpm[0]
SHARED = read_header((DATA / "tpm2-tang.json").read_bytes())
SHARED_PCR7 = bytes.fromhex("35e16f632d820e2a4351b5064d5805f2cfe581b74a02bfc811813349258f1b3f")
PIN_TOKEN = read_header((DATA / "approval.json").read_bytes()).tpm[0]


def good() -> TpmView:
    """The TPM as it is when the volumes open."""
    line = json.loads((DATA / "signature.json").read_text())["sha256"][0]
    signed = SignedPolicy(
        key=line["pkfp"], registers=tuple(line["pcrs"]), policy=bytes.fromhex(line["pol"])
    )
    return TpmView(
        registers={7: PCR7, 11: PCR11},
        parent=bytes.fromhex((DATA / "storage-root.hex").read_text())[2:],
        signed=(signed,),
    )


def with_registers(**changed: bytes) -> TpmView:
    numbers = {int(name[1:]): value for name, value in changed.items()}
    return replace(good(), registers={**good().registers, **numbers})


def test_the_policy_is_the_one_that_systemd_sealed_to() -> None:
    registers = good().registers
    assert (TOKEN.literal, TOKEN.signed, TOKEN.pin) == ((7, 12, 15), (11,), False)
    for token in (TOKEN, PIN_TOKEN):
        assert token.policy == sealing_policy(
            registers, token.literal, token.public_key, pin=token.pin
        )
    assert PIN_TOKEN.pin
    assert TOKEN.policy != PIN_TOKEN.policy


def test_the_signature_is_found_by_key_and_register() -> None:
    line = good().signed[0]
    assert line.key == key_fingerprint(TOKEN.public_key)
    assert line.policy == pcr_policy({11: PCR11}, (11,))


@pytest.mark.parametrize("token", [TOKEN, PIN_TOKEN], ids=["tpm2", "approval"])
@pytest.mark.parametrize(
    ("tpm", "reason"),
    [
        (good(), errors.TpmRefuses),
        (TpmView(present=False), errors.TpmMissing),
        (replace(good(), parent=b""), errors.TpmForeign),
        (replace(good(), parent=b"another key"), errors.TpmForeign),
        (replace(good(), parent=None), errors.TpmRefuses),
        (with_registers(r7=b"7" * 32), errors.FirmwareChanged),
        (with_registers(r12=b"c" * 32), errors.BootWordsChanged),
        (with_registers(r15=b"f" * 32), errors.SealedOff),
        (with_registers(r12=b"c" * 32, r15=b"f" * 32), errors.BootWordsChanged),
        (with_registers(r7=b"7" * 32, r15=b"f" * 32), errors.FirmwareChanged),
        (with_registers(r11=b"b" * 32), errors.ImageForeign),
        (replace(good(), signed=()), errors.ImageForeign),
        (
            replace(good(), signed=(replace(good().signed[0], key="00" * 32),)),
            errors.ImageForeign,
        ),
        # Registers that nothing is sealed to change nothing.
        (with_registers(r4=b"4" * 32, r8=b"8" * 32), errors.TpmRefuses),
    ],
)
def test_reasons(token: object, tpm: TpmView, reason: type[errors.LockedError]) -> None:
    assert isinstance(token, type(TOKEN))
    assert why_locked(token, tpm) is reason


@given(st.binary(min_size=32, max_size=32).filter(lambda value: value != PCR7))
def test_any_other_firmware_is_named(value: bytes) -> None:
    assert why_locked(TOKEN, with_registers(r7=value)) is errors.FirmwareChanged


@given(st.sampled_from([12, 15]), st.binary(min_size=32, max_size=32).filter(lambda v: v != ZERO))
def test_whatever_is_measured_is_named(number: int, value: bytes) -> None:
    expected = {12: errors.BootWordsChanged, 15: errors.SealedOff}
    assert why_locked(TOKEN, with_registers(**{f"r{number}": value})) is expected[number]


@pytest.mark.parametrize(
    ("registers", "reason"),
    [
        ({}, errors.TpmRefuses),
        ({7: PCR7}, errors.FirmwareChanged),
        ({12: b"c" * 32}, errors.BootWordsChanged),
        ({15: b"f" * 32}, errors.SealedOff),
        # Tang is asked for besides, not for an image that its builder has signed.
        ({11: b"b" * 32}, errors.TpmRefuses),
    ],
)
def test_reasons_of_a_share_of_clevis(
    registers: dict[int, bytes], reason: type[errors.LockedError]
) -> None:
    (share,) = SHARED.shares
    tpm = TpmView(registers={7: SHARED_PCR7, **registers}, parent=good().parent)
    assert why_locked(share, tpm) is reason


def test_only_rsa_keys_sign_policies() -> None:
    curve = (
        b"-----BEGIN PUBLIC KEY-----\n"
        b"MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
        b"-----END PUBLIC KEY-----\n"
    )
    with pytest.raises(ValueError, match="no RSA key"):
        sealing_policy({}, (7,), curve, pin=False)


# --- headers ------------------------------------------------------------------------------------

JWE = (
    # {"clevis":{"pin":"tang","tang":{"url":"http://tang.example"}}}
    "eyJjbGV2aXMiOnsicGluIjoidGFuZyIsInRhbmciOnsidXJsIjoiaHR0cDovL3RhbmcuZXhhbXBsZSJ9fX0"
)


PUBLIC = base64.urlsafe_b64encode(bytes(10) + b"\0\x20" + b"p" * 32).decode()


def share_of(pin: dict[str, str]) -> TpmToken:
    """As it is read from a header with this pin."""
    body = json.dumps({"clevis": {"pin": "tpm2", "tpm2": pin}}).encode()
    token = {"type": "clevis", "jwe": {"protected": base64.urlsafe_b64encode(body).decode()}}
    (share,) = read_header(json.dumps({"tokens": {"0": token}}).encode()).shares
    return share


def test_a_tang_server_is_found_in_clevis_token() -> None:
    token = {"type": "clevis", "keyslots": ["1"], "jwe": {"protected": JWE}}
    header = read_header(json.dumps({"tokens": {"0": token}}).encode())
    assert (header.clevis, header.tang, header.tpm) == (True, ("http://tang.example",), ())


def test_a_tang_server_is_found_within_shares() -> None:
    body = {"clevis": {"pin": "sss", "sss": {"t": 2, "jwe": [f"{JWE}.x.y"]}}}
    text = base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
    token = {"type": "clevis", "keyslots": ["1"], "jwe": {"protected": text}}
    assert read_header(json.dumps({"tokens": {"0": token}}).encode()).tang == (
        "http://tang.example",
    )


def nested(depth: int) -> bytes:
    """A Tang server within shares within shares."""
    text = JWE
    for _ in range(depth):
        body = {"clevis": {"pin": "sss", "sss": {"t": 1, "jwe": [f"{text}.x.y"]}}}
        text = base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
    return json.dumps({"tokens": {"0": {"type": "clevis", "jwe": {"protected": text}}}}).encode()


def test_servers_and_registers_are_found_in_a_recorded_header() -> None:
    assert SHARED.tang == ("http://10.77.0.1:7500",)
    assert [share.literal for share in SHARED.shares] == [(7, 12, 15)]


@pytest.mark.parametrize("changed", [{"hash": "sha1"}, {"pcr_bank": "sha1"}, {"jwk_pub": ""}])
def test_a_policy_that_is_not_told_is_no_reason(changed: dict[str, str]) -> None:
    pin = {"hash": "sha256", "pcr_bank": "sha256", "pcr_ids": "7", "jwk_pub": PUBLIC}
    assert why_locked(share_of(pin), with_registers()) is errors.FirmwareChanged
    assert why_locked(share_of({**pin, **changed}), with_registers()) is errors.TpmRefuses


@pytest.mark.parametrize(
    "dumped",
    [
        b"",
        b"{}",
        b"[]",
        b'{"tokens": {"0": 1}}',
        b'{"tokens": {"0": {"type": "systemd-tpm2", "tpm2_pubkey": "%"}}}',
        b'{"tokens": {"0": {"type": "systemd-tpm2", "tpm2-pcrs": 3}}}',
        b'{"tokens": {"0": {"type": "clevis", "jwe": 3}}}',
        b'{"tokens": {"0": {"type": "clevis", "jwe": {"protected": "broken"}}}}',
        nested(9),
    ],
)
def test_a_damaged_header_is_a_value_error(dumped: bytes) -> None:
    with pytest.raises(ValueError, match="metadata"):
        read_header(dumped)


@pytest.mark.parametrize(
    "forged",
    [
        {},
        {"tpm2-pcrs": [99]},
        {"tpm2-pcrs": [-1]},
        {"tpm2_pubkey_pcrs": [1 << 40], "tpm2_srk": ""},
        {"tpm2_pubkey": base64.b64encode(b"no key").decode(), "tpm2_srk": ""},
    ],
)
def test_a_token_that_nobody_made_is_damage(tmp_path: Path, forged: dict[str, object]) -> None:
    """Who has the disk writes its headers. The control: as it was made, the TPM is to blame."""
    header = json.loads((DATA / "tpm2.json").read_bytes())
    (token,) = [one for one in header["tokens"].values() if one["type"] == "systemd-tpm2"]
    token.update(forged)
    machine = InstalledMachine(tmp_path, {"KR_OEM": json.dumps(header).encode()}, frozenset())
    opener = Opener(machine.root, machine.run, diagnose=lambda root, run: good())
    with pytest.raises(errors.HeaderDamaged if forged else errors.TpmRefuses):
        opener.open(OpenVolume(label="KR_OEM", device="/dev/vda2", means="tpm2"))
