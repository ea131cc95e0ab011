"""What systemd-repart is told: golden definitions, and laws of its command line."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from node.plan.repart import Sources, command, definitions
from node.steps import Plan, WriteDisk

from .conftest import MakePlan

GOLDEN = Path(__file__).parents[1] / "data/repart"
SOURCES = Sources(
    root=Path("/dev/mapper/root"),
    hashes=Path("/dev/vdb3"),
    boot=Path("/run/kairos-register/staging/boot"),
    kept=Path("/run/kairos-register/staging/kept"),
    volumes=Path("/run/kairos-register/volumes"),
)
MODES = {
    "tpm2": "tpm2",
    "approval": {"mode": "tpm2", "unlock": "approval"},
    "tang": {"mode": "tpm2+tang", "tang": "http://tang.example"},
    "none": "none",
}


def write_step(plan: Plan) -> WriteDisk:
    return next(step for step in plan.steps if isinstance(step, WriteDisk))


def told(step: WriteDisk, sources: Sources = SOURCES) -> str:
    argv = command(step, folder=Path("/run/d"))
    files = definitions(step, sources)
    return "\n".join([" ".join(argv), "", *(f"--- {n}\n{text}" for n, text in files.items())])


@pytest.mark.parametrize("mode", MODES)
def test_golden(make_plan: MakePlan, mode: str) -> None:
    text, path = told(write_step(make_plan(MODES[mode]))), GOLDEN / f"{mode}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


def test_golden_around_a_recovery_system(make_plan: MakePlan) -> None:
    """Boot partition and recovery system stay; what is made anew is as large as it was."""
    step = write_step(make_plan("tpm2", recovery=True))
    text, path = told(step, replace(SOURCES, rest=9 * 2**30)), GOLDEN / "again.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text
    kept = [part.label for part in step.partitions if part.kept]
    assert kept == ["KR_ESP", "kr_recovery", "kr_recovery_v"]
    made = [text for text in definitions(step, SOURCES).values() if "FactoryReset=yes" in text]
    assert len(made) == len(step.partitions) - len(kept)
    kinds = {part.kind for part in step.partitions if part.kept}
    others = {part.kind for part in step.partitions if not part.kept}
    assert not kinds & others, "it knows partitions by their type: these must not be mistaken"


@pytest.mark.parametrize("mode", MODES)
def test_it_is_given_no_key(make_plan: MakePlan, mode: str) -> None:
    """Volumes come with all their slots: what it would make takes minutes on a small machine."""
    text = told(write_step(make_plan(MODES[mode])))
    assert "key" not in text
    assert "Encrypt" not in text
    assert text.count("CopyBlocks=/run/kairos-register/volumes/KR_") == (0 if mode == "none" else 2)


def test_nothing_is_found_by_a_label(make_plan: MakePlan) -> None:
    for text in definitions(write_step(make_plan()), SOURCES).values():
        copied = [line for line in text.splitlines() if line.startswith("Copy")]
        assert not [line for line in copied if "by-" in line or "LABEL" in line.upper()]


def test_the_loader_is_not_among_the_first_files(make_plan: MakePlan) -> None:
    """It is the completion marker: `mark-complete` copies it."""
    text = told(write_step(make_plan()))
    assert "BOOT" not in text.replace("kairos", "")
    assert "loader.efi" not in text
