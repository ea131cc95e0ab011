"""Credential activation with real software TPMs: a copied endorsement key is worth nothing."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.endorsement import EkMakers, endorsed, require_expected
from node.system.endorsement import Endorsement, Shown
from node.tpmanswers import TpmAnswers
from pairing import ekcertificate, errors, tpmcredential, tpmkeys
from pairing.config import Document
from pairing.config.document import from_plain
from pairing.config.machine import require_fit
from pairing.config.problem import Mark
from pairing.facts import Disk, Facts, Tpm
from pairing.protocol.tpmproof import (
    ActivateTpm,
    EkProof,
    TpmActivated,
    TpmExam,
    TpmKeys,
    TpmQuestion,
    TpmUnproved,
)
from pairing.testing.swtpm import TOOLS, SoftTpm, soft_tpm

NODE, LEASE = bytes(range(32)), bytes(16)
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason="needs swtpm, swtpm-tools and tpm2-tools"
)


@dataclass(frozen=True)
class Pair:
    """The shop's TPM and the attacker's."""

    ours: SoftTpm
    theirs: SoftTpm


@pytest.fixture(scope="module")
def tpms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    with soft_tpm(ours, certificate=True) as first, soft_tpm(theirs, certificate=True) as second:
        yield Pair(first, second)


def shown(tpm: SoftTpm) -> Shown:
    opened = Endorsement(tpm.run)
    try:
        return opened.show()
    finally:
        opened.close()


async def examine(answers: TpmAnswers, replayed: Shown | None = None) -> EkProof:
    """The operator's exam of a node; a liar shows `replayed` in place of its endorsement key."""
    exam = TpmExam(NODE, LEASE, secrets.token_bytes, until=60.0)
    question: TpmQuestion | None = exam.begin()
    while question is not None:
        said = await answers.answer(question, NODE, LEASE)
        if replayed and isinstance(said, TpmKeys):
            said = TpmKeys(
                endorsement=replayed.endorsement,
                attestation=said.attestation,
                certificate=replayed.certificate,
            )
        question = exam.received(said)
    assert exam.proof is not None
    return exam.proof


def expecting(ek_hash: str) -> Document:
    value = {"expect": {"ek_hash": ek_hash}, "install": {"encrypt": "tpm2"}}
    return Document(from_plain(value, Mark("config.yaml", 1, 1)))


async def test_the_real_tpm_proves_the_expected_key(tpms: Pair) -> None:
    proof = await examine(TpmAnswers(lambda: Endorsement(tpms.ours.run)))
    assert proof.proved
    assert proof.ek_hash == tpmkeys.read_key(shown(tpms.ours).endorsement).hash
    found = endorsed(Facts(tpm=Tpm(version="2.0")), proof, None, time.time())
    require_expected(expecting(proof.ek_hash), found, None)


async def test_a_replayed_key_of_another_tpm_fails(tpms: Pair) -> None:
    """The attacker knows our machine's public key and certificate, and has a TPM of its own.

    Control: an operator that believes the facts takes the machine for ours.
    """
    copied = shown(tpms.ours)
    ek_hash = tpmkeys.read_key(copied.endorsement).hash
    disk = Disk(path="/dev/sda", size=2**36)
    lying = Facts(disks=(disk,), tpm=Tpm(version="2.0", ek_hash=ek_hash))
    config = expecting(ek_hash)
    require_fit(config, lying)

    proof = await examine(TpmAnswers(lambda: Endorsement(tpms.theirs.run)), copied)
    assert not proof.proved
    found = endorsed(lying, proof, None, time.time())
    with pytest.raises(errors.EkUnproved):
        require_expected(config, found, None)
    with pytest.raises(errors.ConfigNotForThisMachine):
        require_fit(config, found.facts)


async def test_a_credential_opens_in_its_own_tpm_only(tpms: Pair) -> None:
    for holder, opens in ((tpms.ours, True), (tpms.theirs, False)):
        opened = Endorsement(holder.run)
        keys = opened.show()
        target = tpmkeys.read_endorsement(shown(tpms.ours).endorsement)
        name = tpmkeys.read_attestation(keys.attestation).name
        secret = secrets.token_bytes(32)
        made = tpmcredential.make_credential(target, name, secret, secrets.token_bytes)
        if opens:
            assert opened.activate(made.file) == secret
        else:
            with pytest.raises(errors.CommandFailed):
                opened.activate(made.file)
        opened.close()


async def test_a_credential_for_another_attestation_key_does_not_open(tpms: Pair) -> None:
    opened = Endorsement(tpms.ours.run)
    target = tpmkeys.read_endorsement(opened.show().endorsement)
    other = tpmkeys.read_attestation(shown(tpms.theirs).attestation).name
    made = tpmcredential.make_credential(target, other, bytes(32), secrets.token_bytes)
    with pytest.raises(errors.CommandFailed):
        opened.activate(made.file)
    opened.close()


def makers(tpm: SoftTpm) -> EkMakers:
    return EkMakers("makers.pem", ekcertificate.load_makers(tpm.makers.read_bytes()))


async def test_only_a_trusted_makers_certificate_counts(tpms: Pair) -> None:
    proof = await examine(TpmAnswers(lambda: Endorsement(tpms.ours.run)))
    facts = Facts(tpm=Tpm(version="2.0"))
    config = expecting(proof.ek_hash)
    good = endorsed(facts, proof, makers(tpms.ours), time.time())
    require_expected(config, good, makers(tpms.ours))
    assert good.maker is not None
    assert "swtpm-localca" in good.maker.issuer
    strange = endorsed(facts, proof, makers(tpms.theirs), time.time())
    with pytest.raises(errors.EkUncertified, match="nobody in the list"):
        require_expected(config, strange, makers(tpms.theirs))
    assert "not valid today" in endorsed(facts, proof, makers(tpms.ours), 0.0).uncertified


async def test_the_certificate_of_another_key_does_not_count(tpms: Pair) -> None:
    key = tpmkeys.read_endorsement(shown(tpms.theirs).endorsement)
    certificate = shown(tpms.ours).certificate
    trusted = makers(tpms.ours).certificates
    with pytest.raises(ValueError, match="for another key"):
        ekcertificate.check_certificate(certificate, key, trusted, time.time())
    for broken in (b"", b"\x30", certificate[:-1], b"\x30\x82\x00\x00"):
        with pytest.raises(ValueError, match="certificate"):
            ekcertificate.check_certificate(broken, key, trusted, time.time())


async def test_nothing_stays_behind(tpms: Pair) -> None:
    def kept() -> list[str]:
        areas = ("handles-persistent", "handles-loaded-session")
        return [tpms.ours.run(["tpm2_getcap", area], seconds=10).text() for area in areas]

    before = kept()
    answers = TpmAnswers(lambda: Endorsement(tpms.ours.run))
    folders: list[Path] = []

    def opened() -> Endorsement:
        made = Endorsement(tpms.ours.run)
        folders.append(made.folder)
        return made

    answers.open_tpm = opened
    assert (await examine(answers)).proved
    assert folders
    assert not any(folder.exists() for folder in folders)
    assert kept() == before


async def test_failures_are_answers() -> None:
    def missing(*_argv: object, **_more: object) -> object:
        raise errors.CommandMissing(element="tpm2_createek")

    answers = TpmAnswers(lambda: Endorsement(missing))  # type: ignore[arg-type]
    said = await answers.answer(TpmExam(NODE, LEASE, bytes, 0.0).begin(), NODE, LEASE)
    assert isinstance(said, TpmUnproved)
    assert "tpm2_createek" in said.text
    early = await answers.answer(ActivateTpm(blob=b"\0", seed=b"\0"), NODE, LEASE)
    assert isinstance(early, TpmUnproved)
    assert not isinstance(early, TpmActivated)
