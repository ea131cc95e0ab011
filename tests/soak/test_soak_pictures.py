"""Ten thousand pictures without a token, a thousand screenshots with one, faults in photos."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from node.testing.screenshots import screenshot
from pairing import errors
from pairing.qr import zbar
from pairing.qr.read import PhotoReader, token_from
from pairing.testing import spoiled
from pairing.testing.engines import ENGINES
from pairing.testing.strangers import acquaintance, stranger

Part = Any
PICTURES = 10_000
CONTROL_EVERY = 20
SCREENSHOTS = 1000
FAULTY = 20


@pytest.mark.soak(share=0.2)
def test_no_picture_without_a_token_gives_one(part: Part) -> None:
    kinds: Counter[str] = Counter()
    part.kept.update(asked=PICTURES, pictures=0, controls=0, controls_read=0)
    with PhotoReader() as reader:
        for number in range(PICTURES):
            if part.over:
                break
            shown = stranger(number)
            assert reader.read(shown.data).tokens == (), (number, shown.kind)
            kinds[shown.kind] += 1
            part.kept.update(pictures=number + 1, kinds=dict(kinds))
            if number % CONTROL_EVERY == 0:  # the positive control: the same damage left out
                text, picture = acquaintance(number)
                tokens = reader.read(picture).tokens
                assert set(tokens) <= {text}
                part.kept["controls"] += 1
                part.kept["controls_read"] += tokens == (text,)
    assert part.kept["controls_read"] > 0.9 * part.kept["controls"] > 0


@pytest.mark.soak(share=0.05)
def test_every_engine_reads_every_screenshot(part: Part) -> None:
    engines = {name: read for name, read in ENGINES.items() if name != "zbar" or zbar.load()}
    part.kept.update(asked=SCREENSHOTS, screenshots=0, engines=list(engines))
    for number in range(SCREENSHOTS):
        if part.over:
            break
        token, picture = screenshot(number)
        for name, read in engines.items():
            assert read(picture) == (token,), (number, name)
        part.kept["screenshots"] = number + 1
    assert part.kept["screenshots"]


@pytest.mark.soak(share=0.1)
def test_faults_are_not_confused(part: Part) -> None:
    """Of the photos that are not read, nine in ten are called what they are."""
    called: dict[str, Counter[str]] = {fault: Counter() for fault in spoiled.NAMED}
    with PhotoReader() as reader:
        for seed in range(100, 100 + FAULTY):
            if part.over:
                break
            for fault, slugs in called.items():
                try:
                    token_from(reader.read(spoiled.photo(fault, seed), name=fault))
                except errors.PhotoError as wrong:
                    slugs[wrong.slug] += 1
            part.kept["called"] = {fault: dict(slugs) for fault, slugs in called.items()}
    unread = sum(slugs.total() for slugs in called.values())
    rights = sum(slugs[spoiled.NAMED[fault]] for fault, slugs in called.items())
    assert rights >= 0.9 * unread > 0, called
