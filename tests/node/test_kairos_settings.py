"""The form of the code: ours unless the image says otherwise, and no pin that does not hold."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from node.settings import Form, Settings, read, with_kernel_words
from pairing import errors, keys

PIN = base64.urlsafe_b64encode(keys.generate().public).decode().rstrip("=")
PEER = "12D3KooWBh5fxZcig6DetbEQiXtxyjrYKhnH9DMyjLVngELtxoRj"


def written(folder: Path, text: str) -> Path:
    path = folder / "node.yaml"
    path.write_text(text)
    return path


def test_silence_means_our_own_code(tmp_path: Path) -> None:
    for settings in (Settings(), read(tmp_path / "missing"), read(written(tmp_path, "port: 1\n"))):
        assert (settings.form, settings.bootstrap) == (Form.NATIVE, ())


@pytest.mark.parametrize("form", Form)
def test_the_image_decides(form: Form, tmp_path: Path) -> None:
    text = f"token: {form}\nbootstrap: [public, /dns4/dht.example.net/tcp/4001/p2p/{PEER}]\n"
    settings = read(written(tmp_path, text))
    assert settings.form is form
    assert len(settings.bootstrap) == 2


def test_the_kernel_line_never_makes_a_code_weaker() -> None:
    words = ("kairos.token=kairos", "kairos.form=both", "token=both")
    assert with_kernel_words(Settings(), words) == Settings()


@pytest.mark.parametrize("form", ["kairos", "both"])
def test_a_fleet_is_not_pinned_beside_a_code_that_obeys_none(form: str, tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsInvalid, match="obeys no fleet"):
        read(written(tmp_path, f"token: {form}\nfleets: [{PIN}]\n"))
    assert read(written(tmp_path, f"token: native\nfleets: [{PIN}]\n")).fleets


@pytest.mark.parametrize(
    "text",
    [
        "token: legacy\n",
        "token: [both]\n",
        "token: null\n",
        "bootstrap: [192.0.2.1:4001]\n",
        "bootstrap: ['/ip4/192.0.2.1/tcp/4001']\n",
        f"bootstrap: ['/ip4/192.0.2.1/udp/4001/quic-v1/p2p/{PEER}']\n",
        "bootstrap: [public please]\n",
        "bootstrap: [4001]\n",
    ],
)
def test_nonsense_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsInvalid):
        read(written(tmp_path, text))
