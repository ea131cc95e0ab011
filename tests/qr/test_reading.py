"""From codes to a decision: every way in which a photo can fail to show one token."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors
from pairing.base45 import ALPHABET
from pairing.language import LANGUAGES
from pairing.qr.advice import advice
from pairing.qr.reading import Code, Kind, Reading, describe, kind_of, token_from
from pairing.testing.tokens import random_token

TOKEN = random_token(random.Random(1))
OTHER = random_token(random.Random(2))
KAIROS_YAML = (
    "otp:\n  crypto:\n    interval: 9000\n    key: " + "k" * 43 + "\nroom: " + "r" * 200 + "\n"
)
KAIROS = base64.b64encode(KAIROS_YAML.encode()).decode()
PLACE = ((10, 10), (410, 10), (410, 410), (10, 410))


def reading(*texts: str, unreadable: int = 0) -> Reading:
    return Reading(
        photo="shop.jpg",
        codes=tuple(Code(text) for text in texts),
        unreadable=(PLACE,) * unreadable,
    )


def test_one_token() -> None:
    found = token_from(reading(TOKEN))
    assert (found.kind, found.text) == (Kind.NATIVE, TOKEN)


def test_the_same_token_twice_is_one() -> None:
    assert token_from(reading(TOKEN, TOKEN)).text == TOKEN


def test_a_token_among_foreign_and_unreadable_codes() -> None:
    assert token_from(reading("https://example.org", TOKEN, unreadable=2)).text == TOKEN


def test_a_kairos_token_is_another_kind() -> None:
    found = token_from(reading(KAIROS))
    assert (found.kind, found.text) == (Kind.KAIROS, KAIROS)


@pytest.mark.parametrize(
    ("case", "error"),
    [
        (reading(), errors.NoCodeFound),
        (reading(unreadable=1), errors.CodeUnreadable),
        (reading("https://example.org", unreadable=1), errors.CodeUnreadable),
        (reading("https://example.org"), errors.ForeignCode),
        (reading(TOKEN, OTHER), errors.SeveralTokens),
        (reading(TOKEN, KAIROS), errors.SeveralTokens),
        (reading(TOKEN[:-1] + ("0" if TOKEN[-1] != "0" else "1")), errors.TokenInvalid),
        (reading("EP1:"), errors.TokenInvalid),
    ],
)
def test_each_failure_has_its_error(case: Reading, error: type[errors.PhotoError]) -> None:
    with pytest.raises(errors.PhotoError) as raised:
        token_from(case)
    assert type(raised.value) is error
    assert "shop.jpg" in raised.value.sentence


def test_two_tokens_are_an_error_that_shows_where_each_is() -> None:
    def at(text: str, left: int, top: int) -> Code:
        return Code(text, ((left, top), (left + 200, top), (left, top + 200)))

    codes = (at(TOKEN, 100, 50), at(OTHER, 1300, 900), at("https://example.org", 700, 500))
    case = Reading(photo="shop.jpg", width=1600, height=1200, codes=codes)
    with pytest.raises(errors.SeveralTokens) as raised:
        token_from(case)
    said = "There are 2 different ones: top left (at 100, 50), bottom right (at 1300, 900)."
    assert raised.value.detail == said
    assert TOKEN not in raised.value.sentence


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("WIFI:S:shop;P:hunter2;;", "Wi-Fi"),
        ("BEGIN:VCARD\nN:Doe", "business card"),
        ("otpauth://totp/x?secret=hunter2", "two-factor"),
        ("https://user:hunter2@example.org/hunter2?p=hunter2", "example.org"),
        ("http://[broken", "link"),
    ],
)
def test_a_foreign_code_is_named_without_its_secrets(text: str, said: str) -> None:
    assert said in describe([text])
    assert "hunter2" not in describe([text])


@given(st.text(min_size=1))
def test_a_foreign_code_drives_no_terminal(text: str) -> None:
    said = describe([text])
    assert said.isascii()
    assert said.isprintable()
    assert len(said) < 100


@given(st.text(max_size=200) | st.binary(max_size=400).map(lambda b: base64.b64encode(b).decode()))
def test_no_other_text_is_a_token(text: str) -> None:
    assert kind_of(text) is None or b"otp" in base64.b64decode(text)


def test_every_changed_character_is_noticed() -> None:
    """All neighbours of one token; another token may have one with the same 16-bit checksum."""
    for place in range(4, len(TOKEN)):
        for character in ALPHABET:
            changed = TOKEN[:place] + character + TOKEN[place + 1 :]
            assert kind_of(changed) is (Kind.NATIVE if changed == TOKEN else None)


def test_tokens_stay_out_of_representations() -> None:
    case = reading(TOKEN)
    assert TOKEN not in repr(case) + repr(token_from(case))


def photo_errors() -> list[type[errors.KnownError]]:
    return [error for error in errors.all_errors() if issubclass(error, errors.PhotoError)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_photo_error_has_advice_in_every_language(language: str) -> None:
    for error in photo_errors():
        said = advice(error(), language)
        assert said.endswith(".")
        assert len(said) < 200
        if language != "en":
            assert said != advice(error(), "en")


def test_advice_speaks_the_wished_language_or_english() -> None:
    unreadable = errors.CodeUnreadable()
    assert advice(unreadable, "de_DE.UTF-8").startswith("Der Code")
    assert advice(unreadable, "pt-BR").startswith("Vejo")
    assert advice(unreadable, "zz") == advice(unreadable, "en")
    assert advice(unreadable, "") == advice(unreadable, "en")


def test_advice_follows_the_cause() -> None:
    assert "reflections" in advice(errors.CodeUnreadable())
    assert "network cable" in advice(errors.RelayUnreachable())
    assert "new photo" in advice(errors.NodeRestarted())
    assert "network" not in advice(errors.NodeRestarted())
    assert advice(errors.RestartedAfterRelease()) == advice(errors.NodeRestarted())
