"""Ten thousand pictures without a token, a thousand screenshots with one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from node.testing.screenshots import screenshot
from pairing.qr import zbar
from pairing.qr.read import PhotoReader
from pairing.testing.engines import ENGINES
from pairing.testing.strangers import acquaintance, stranger

Part = Any
PICTURES = 10_000
CONTROL_EVERY = 20
SCREENSHOTS = 1000


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
