"""The code of Kairos' recovery mode: three secrets in one text."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.edgevpn import nettoken, recovery
from pairing.edgevpn.recovery import RecoveryCode

TOKEN = nettoken.fresh(secrets.token_bytes, full=True)
TEXT = f"{nettoken.to_full_text(TOKEN)}_CREDENTIALS_abcdefghij_CREDENTIALS_q7QmZ2a"


def test_it_is_read_as_kairos_writes_it() -> None:
    code = recovery.parse(TEXT)
    assert code == RecoveryCode(TOKEN, "abcdefghij", "q7QmZ2a")
    assert recovery.to_text(code) == TEXT
    assert len(TEXT) == 591


def test_nothing_of_it_shows_in_a_message() -> None:
    assert "q7QmZ2a" not in repr(recovery.parse(TEXT))
    assert "abcdefghij" not in repr(recovery.parse(TEXT))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "_CREDENTIALS_",
        nettoken.to_full_text(TOKEN),
        TEXT + "_CREDENTIALS_x",
        TEXT + "\n",
        TEXT.replace("q7QmZ2a", ""),
        TEXT.replace("q7QmZ2a", "a\nrm -rf /"),
        TEXT.replace("q7QmZ2a", "x" * 65),
        TEXT.replace("abcdefghij", "../x"),
        "b3Rw" + TEXT,
        "x" * 5000,
    ],
)
def test_what_is_none_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(errors.RecoveryCodeInvalid) as refused:
        recovery.parse(text)
    assert "q7QmZ2a" not in str(refused.value)


@given(st.text() | st.lists(st.text(), min_size=3, max_size=3).map(recovery.SEPARATOR.join))
def test_any_text_is_a_code_or_the_named_error(text: str) -> None:
    with pytest.raises(errors.RecoveryCodeInvalid):
        recovery.parse(text)
