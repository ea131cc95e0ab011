"""What a SOURCE is. Nothing is guessed."""

from __future__ import annotations

import io
import secrets
import sys
from pathlib import Path

import pytest

from cli.mesh_run import token_from
from cli.sources import sources
from pairing import errors, keys
from pairing.edgevpn import nettoken
from pairing.peertoken import Token, to_text
from pairing.qr import render
from pairing.qr.read import PhotoReader
from pairing.qr.reading import Kind


def pipe(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_token_is_a_token_and_advised_against() -> None:
    text = to_text(Token(keys.generate().public, b"s" * 16))
    (source,) = sources([text])
    assert source.advice
    assert text not in repr(source)
    with PhotoReader() as reader:
        assert to_text(source.token(reader, loopback=False)) == text


def test_a_folder_is_its_pictures_in_order(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "c.heic"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [Path(s.name).name for s in sources([str(tmp_path)])] == ["a.png", "b.JPG", "c.heic"]


def test_several_sources_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("z.png", "photos/a.png", "photos/b.png"):
        (tmp_path / name).touch()
    found = sources([str(tmp_path / "z.png"), str(tmp_path / "photos")])
    assert [Path(s.name).name for s in found] == ["z.png", "a.png", "b.png"]


@pytest.mark.parametrize("text", ["nowhere.png", "", "EP2:ABC", "x" * 5000, "a\0b", "ep1:abc"])
def test_anything_else_is_an_error(text: str, monkeypatch: pytest.MonkeyPatch,
                                   tmp_path: Path) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.NoSuchSource) as refused:
        sources([text])
    assert len(str(refused.value)) < 300


def damaged() -> dict[str, tuple[str, str]]:
    """Tokens as they are pasted wrongly, and what of them nobody may see."""
    token = nettoken.fresh(secrets.token_bytes)
    network, full = nettoken.to_text(token), nettoken.to_full_text(token)
    ours = to_text(Token(keys.generate().public, b"s" * 16))
    return {
        "cut": (network[:-1], network[8:70]),
        "cut short": (network[:79], network[8:70]),
        "recovery": (f"{full}_CREDENTIALS_s_CREDENTIALS_pass.word", "pass.word"),
        "ours": (ours.lower(), ours[20:60].lower()),
    }


@pytest.mark.parametrize("which", ["cut", "cut short", "recovery", "ours"])
@pytest.mark.parametrize("is_mesh", [False, True])
def test_a_token_with_a_typing_error_is_not_shown(which: str, is_mesh: bool) -> None:
    text, secret = damaged()[which]
    with pytest.raises(errors.KnownError) as refused:
        _ = token_from(text, print) if is_mesh else sources([text])
    said = str(refused.value)
    assert secret not in said
    assert text[8:40] not in said


@pytest.mark.parametrize("name", ["nowhere.png", "a/folder/of/photos", f"/shops/{'x' * 60}.jpeg"])
def test_a_path_that_is_not_there_is_shown(name: str) -> None:
    with pytest.raises(errors.NoSuchSource) as refused:
        sources([name])
    assert refused.value.element == name


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(errors.NoSuchSource, match="no picture"):
        sources([str(tmp_path)])


def test_standard_input_is_a_photo_or_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    text = to_text(Token(keys.generate().public, b"s" * 16))
    pipe(monkeypatch, f"  {text}\n".encode())
    (source,) = sources(["-"])
    assert (source.text, source.photo, source.advice) == (text, None, "")
    for data in (b"\x89PNG\r\n\x1a\n...", b"\xff\xd8\xff...", b"\x80\x81", b"x" * 5000):
        pipe(monkeypatch, data)
        (source,) = sources(["-"])
        assert source.photo == data
    pipe(monkeypatch, b"  \n")
    with pytest.raises(errors.NoSuchSource):
        sources(["-"])
    with pytest.raises(errors.UsageError):
        sources(["-", "-"])


def test_a_node_on_this_machine_needs_loopback() -> None:
    from pairing.transport.base import Address

    text = to_text(Token(keys.generate().public, b"s" * 16, ipv4=Address("127.0.0.1", 4917)))
    (source,) = sources([text])
    with PhotoReader() as reader:
        source.token(reader, loopback=True)
        with pytest.raises(errors.TokenInvalid):
            source.token(reader, loopback=False)


KAIROS = nettoken.to_text(nettoken.fresh(secrets.token_bytes))


def test_a_code_of_kairos_is_known_and_refused_by_name(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(render.png(render.modules(KAIROS)))
    (shown,), (typed,) = sources([str(photo)]), sources([KAIROS])
    assert typed.advice
    with PhotoReader() as reader:
        for source in (shown, typed):
            found = source.code(reader)
            assert (found.kind, found.text) == (Kind.KAIROS, KAIROS)
            with pytest.raises(errors.KairosCode) as refused:
                source.token(reader, loopback=True)
            assert refused.value.exit_code == errors.ExitCode.PHOTO
            assert "--kairos" in refused.value.hint
            assert "weaker" in refused.value.hint
            assert KAIROS[:40] not in str(refused.value)


def test_photos_named_together(tmp_path: Path) -> None:
    """As messages and the inbox name photos of one screen; a file that is called so comes first."""
    for name in ("a.png", "b 1.png"):
        (tmp_path / name).write_bytes(b"never opened")
    both = f"{tmp_path / 'a.png'} + {tmp_path / 'b 1.png'}"
    assert [Path(source.name).name for source in sources([both])] == ["a.png", "b 1.png"]
    with pytest.raises(errors.NoSuchSource, match=r"none\.png"):
        sources([f"{tmp_path / 'a.png'} + {tmp_path / 'none.png'}"])
    odd = tmp_path / "a + b.png"
    odd.write_bytes(b"never opened")
    assert [source.name for source in sources([str(odd)])] == [str(odd)]


def test_a_recovery_code_is_not_shown(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    shown_text = f"{KAIROS} _CREDENTIALS_ uuid _CREDENTIALS_ abcdefg"
    photo.write_bytes(render.png(render.modules(shown_text), 3))
    (shown,) = sources([str(photo)])
    with PhotoReader() as reader, pytest.raises(errors.ForeignCode, match="root shell") as refused:
        shown.code(reader)
    assert KAIROS[:20] not in str(refused.value)
    assert "abcdefg" not in str(refused.value)
