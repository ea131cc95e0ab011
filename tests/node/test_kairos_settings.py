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
    named = f"/dns4/dht.example.net/tcp/4001/p2p/{PEER}, /dnsaddr/dht.example.net/p2p/{PEER}"
    settings = read(written(tmp_path, f"token: {form}\nbootstrap: [public, {named}]\n"))
    assert settings.form is form
    assert len(settings.bootstrap) == 3


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


@pytest.mark.parametrize(
    "where",
    ["ip4/192.0.2.1/tcp/4001", "ip6/2001:db8::1/tcp/4001", "dns4/a.example/tcp/1"]
    + ["dns6/a.example/tcp/65535", "dns/a.example/tcp/4001", "dnsaddr/a.example"],
)
def test_what_the_settings_take_the_network_understands(where: str, tmp_path: Path) -> None:
    from pairing.transport.p2p.gossip.bootstrap import bootstrap_peers

    named = read(written(tmp_path, f"bootstrap: ['/{where}/p2p/{PEER}']\n")).bootstrap
    assert tuple(bootstrap_peers(named)) == named
