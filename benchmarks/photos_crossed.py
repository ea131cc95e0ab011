"""How well the choice of decoding steps carries over to photos that had no part in it.

The steps of the ladder and their order come from measurements. Here they are chosen again for each
group of photos, on all *other* groups: by photos gained for the CPU time spent, and without a step
that gains nothing there. What these steps read in the group itself is the cross-validated figure.
The grid reader has no setting that belongs to a group: what it read counts as it is.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pairing.qr import ladder, zbar
from pairing.qr import photo as pictures
from pairing.qr.reading import Code
from pairing.testing import photoset


@dataclass(frozen=True, slots=True)
class Crossed:
    """Photos read of all, and for each group the steps that the others would have chosen."""

    read: int
    of: int
    chosen: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Trial:
    """One photo: which steps read it by themselves, and each one's CPU milliseconds."""

    photo: photoset.Labelled
    by: frozenset[str]
    ms: Mapping[str, float]


def crossed(photos: Sequence[photoset.Labelled], by_grid: Collection[photoset.Labelled]) -> Crossed:
    """`by_grid`: photos that only the grid reader read."""
    trials = [_trial(photo) for photo in photos]
    groups = dict.fromkeys(photo.group for photo in photos)
    chosen = {
        group: _choose([trial for trial in trials if trial.photo.group != group])
        for group in groups
    }
    read = sum(
        trial.photo in by_grid or not trial.by.isdisjoint(chosen[trial.photo.group])
        for trial in trials
    )
    return Crossed(read, len(photos), chosen)


def _trial(photo: photoset.Labelled) -> _Trial:
    decoder, image = zbar.load(), pictures.open_gray(photo.path.read_bytes())
    by, ms = set(), {}
    for step in ladder.STEPS:
        if step.hard or (step.engine == "zbar" and decoder is None):
            continue
        begun = time.process_time()
        ready = step.prepare(image)
        found = [] if ready is None else list(ladder.look(step, ready, image, decoder))
        ms[step.name] = (time.process_time() - begun) * 1000
        if photo.is_right([code.text for code in found if isinstance(code, Code)]):
            by.add(step.name)
    return _Trial(photo, frozenset(by), ms)


def _choose(trials: Sequence[_Trial]) -> tuple[str, ...]:
    """Steps by photos gained for the time spent on those that are left."""
    chosen: list[str] = []
    left = list(trials)
    while left:
        gains = {
            name: sum(name in trial.by for trial in left) / (1 + sum(t.ms[name] for t in left))
            for name in left[0].ms
            if name not in chosen
        }
        best = max(gains, key=lambda name: gains[name], default="")
        if not gains.get(best):
            break
        chosen.append(best)
        left = [trial for trial in left if best not in trial.by]
    return tuple(chosen)
