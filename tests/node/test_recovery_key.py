"""The recovery key has systemd's form and does not show itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.recoverykey import MODHEX, SIZE, TEXT_SIZE, RecoveryKey

SHAPE = re.compile(rb"(?:[cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}")


@given(secret=st.binary(min_size=SIZE, max_size=SIZE))
def test_the_text_is_the_key_in_modhex(secret: bytes) -> None:
    text = RecoveryKey(secret).passphrase
    assert SHAPE.fullmatch(text)
    assert len(text) == TEXT_SIZE
    digits = [MODHEX.index(letter) for letter in text.replace(b"-", b"")]
    pairs = zip(digits[::2], digits[1::2], strict=True)
    assert bytes(high << 4 | low for high, low in pairs) == secret


def test_a_known_key() -> None:
    """Letters as systemd-cryptenroll's modhex table has them: c=0 b=1 ... v=15."""
    text = RecoveryKey(bytes(range(32))).passphrase
    assert text.startswith(b"cccbcdce-cfcgchci-cjckclcn-crctcucv-bcbbbdbe")


def test_it_is_new_every_time_hidden_and_gone_when_wiped() -> None:
    key, other = RecoveryKey.new(), RecoveryKey.new()
    assert key.passphrase != other.passphrase
    assert key.fingerprint != other.fingerprint
    text = key.passphrase.decode()
    assert text[:8] not in repr(key)
    assert text[:8] not in key.fingerprint
    key.wipe()
    with pytest.raises(ValueError, match="wiped"):
        _ = key.passphrase


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_another_length_is_no_key(size: int) -> None:
    with pytest.raises(ValueError, match="32"):
        RecoveryKey(bytes(size))
