"""What programs print, without the secrets of the config that started them."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing.config.document import Document
from pairing.config.load import load
from pairing.config.redact import HIDDEN
from pairing.config.scrub import Scrub

SECRET = "s3cr3t-of-shop-17"


def document(text: str) -> Document:
    return load(f"#cloud-config\n{text}\n", "c.yaml")


PLACES = (
    "k3s-agent: {{env: {{K3S_TOKEN: {0}}}}}",
    "k3s-agent: {{env: {{K3S_TOKEN: 'K10abc::server:{0}'}}}}",
    "k3s: {{args: ['--token={0}']}}",
    "k3s: {{args: ['--datastore-endpoint', 'mysql://u:{0}@tcp(db)/x']}}",
    "environment: {{API_KEY: {0}}}",
    "users: [{{name: a, passwd: {0}}}]",
    "write_files: [{{path: /a, content: '{0}'}}]",
    "write_files: [{{path: /a, content: \"user=x\\nkey = '{0}'\\n\"}}]",
    "runcmd: [[login, {0}]]",
    "runcmd: ['login --with {0} now']",
    "stages: {{boot: [{{commands: ['echo {0} | login']}}]}}",
    "stages: {{boot: [{{if: 'test {0} = x'}}]}}",
    "kubernetes: {{token: {0}}}",
    "x-mine: {{anything: {0}}}",
)


@pytest.mark.parametrize("place", PLACES)
def test_wherever_it_stands_it_is_not_printed(place: str) -> None:
    scrub = Scrub.of(document(place.format(SECRET)))
    for line in (SECRET, f"login: {SECRET}: denied", f"a\nb{SECRET}c\n"):
        assert SECRET not in scrub(line)
        assert HIDDEN in scrub(line)
    assert SECRET not in repr(scrub)


@given(
    st.text(string.ascii_letters + string.digits + "-_", min_size=8, max_size=40).filter(
        lambda text: any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    ),
    st.sampled_from(PLACES),
    st.text(max_size=60),
    st.text(max_size=60),
)
def test_any_key_in_any_place_and_any_text(
    secret: str, place: str, before: str, after: str
) -> None:
    scrub = Scrub.of(document(place.format(f"x1{secret}")))
    assert f"x1{secret}" not in scrub(f"{before}x1{secret}{after}")


def test_longer_secrets_first() -> None:
    """Else the end of a longer one would be left where a shorter one begins it."""
    config = document("environment: {A: abcd1234, B: abcd1234efgh5678}")
    assert Scrub.of(config)("abcd1234efgh5678") == HIDDEN


def test_ordinary_words_stay() -> None:
    config = document(
        "hostname: shop\nruncmd: ['/usr/local/bin/hello --once to everybody']\n"
        "k3s: {enabled: true, args: ['--disable=traefik']}\nusers: [{name: ana, passwd: '*'}]"
    )
    said = "sh: 1: /usr/local/bin/hello: not found (traefik, ana, shop)"
    assert Scrub.of(config)(said) == said


def test_what_gives_itself_away_is_hidden_whoever_says_it() -> None:
    scrub = Scrub.of(document("hostname: a"))
    assert "hunter22" not in scrub("login password=hunter22 failed")
    assert "hunter22" not in scrub("https://u:hunter22@host/x")


def test_control_without_it_the_secret_is_there() -> None:
    assert SECRET in f"login: {SECRET}: denied"
    assert Scrub(())(f"login: {SECRET}") == f"login: {SECRET}"
