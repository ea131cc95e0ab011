"""What the screen says, one file per language: `Texts` filled in, and its name in
`pairing.language`.

Sentences have at most eight words. Letters that a console font lacks are shown without accent.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from pairing.events import State
from pairing.language import language


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """All texts of the screen in one language. Names in braces are filled in."""

    states: Mapping[State, str]
    starting: str
    """An installed machine that was switched on and is not ready yet."""
    keep_on: str
    may_switch_off: str
    abort: str
    """With {seconds}: how long the machine may still be switched off without harm."""
    step: str
    """With {number} and {steps}."""
    steps: Mapping[str, str]
    """What a step does, by its name: those of `node.steps.STEP_TYPES`, and after the restart
    `stage-NAME` (`node.life`) and `join`, for `join-PROVIDER`."""
    read_aloud: str
    compare: str
    rehearsal: str
    rehearsed: str
    """A rehearsal's good end, in place of the state's sentence."""
    too_small: str
    use_larger: str
    """What to do about it, where the code is Kairos' own; its text stands below."""
    weak: str
    """Beside Kairos' own code: what its photo is worth."""
    tried: str
    """It waits again after a config that could not be installed."""
    machine: str
    operator: str
    serial: str
    address: str
    no_address: str
    relay: str
    repair: str
    """Before the words of who has a repair session open."""
    repaired: str
    """After a repair session, until something else happens."""


def load(wish: str) -> Texts:
    """The texts in the language of `wish` (see `pairing.language`)."""
    texts = importlib.import_module(f"node.texts.{language(wish)}").TEXTS
    assert isinstance(texts, Texts)
    return texts
