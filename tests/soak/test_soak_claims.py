"""R4 at length: the stateful model of tests/protocol, a million steps of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

Part = Any
STEPS = 1_000_000
MODEL = Path(__file__).parents[1] / "protocol" / "test_stateful_claims.py"
ROUND = settings(
    max_examples=50,
    stateful_step_count=100,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def model() -> Any:
    """The machine of the fast test; test files are no package that could be imported."""
    spec = importlib.util.spec_from_file_location("stateful_claims_model", MODEL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Claims


@pytest.mark.soak(share=0.3)
def test_a_million_steps_of_claims(part: Part) -> None:
    done = 0

    class Counted(model()):  # type: ignore[misc]
        @invariant()
        def one_step_more(self) -> None:
            nonlocal done
            done += 1

    while done < STEPS and not part.over:
        run_state_machine_as_test(Counted, settings=ROUND)
        part.kept.update(asked=STEPS, steps=done)
    assert done
