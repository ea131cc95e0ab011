"""A program of a recipe, fetched from a real web server by TLS; believed by its digest only."""

from __future__ import annotations

import functools
import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.commands.image import image
from node.image import programs, recipe
from node.image.recipe import ProviderFile, Recipe
from node.image.store import Store
from node.testing.certificates import Authority
from pairing import errors

K3S = b"\x7fELF not really k3s\n" * 100_000
DIGEST = hashlib.sha256(K3S).hexdigest()


@dataclass(frozen=True, slots=True)
class Site:
    """A web server with a k3s to download. `asked` are the paths that were asked for."""

    url: str
    asked: list[str]


class _Handler(SimpleHTTPRequestHandler):
    """Files, a redirection, and a file that breaks off."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path in ("/moved", "/downgraded"):
            self.send_response(302)
            away = "/k3s" if self.path == "/moved" else "http://127.0.0.1:1/k3s"
            self.send_header("Location", away)
            self.end_headers()
        elif self.path == "/broken":
            self.send_response(200)
            self.send_header("Content-Length", str(len(K3S)))
            self.end_headers()
            self.wfile.write(K3S[:1000])
        else:
            super().do_GET()

    def log_message(self, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    """Callers that hang up are no news."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "k3s").write_bytes(K3S)
    authority = Authority.new()
    authority.write(tmp_path)
    authority.serve(tmp_path, "web", ["127.0.0.1"])
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"asked": asked})
    server = _Server(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(tmp_path / "web.crt", tmp_path / "web.key")
    server.socket = trust.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    # What this machine trusts, as OpenSSL is told it.
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    try:
        yield Site(f"https://127.0.0.1:{server.server_address[1]}", asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fetch(folder: Path, source: str, sha256: str = DIGEST) -> bytes:
    wanted = ProviderFile(name="k3s", source=source, sha256=sha256)
    store = Store(folder / "cache")
    return programs.fetch(Recipe(version="1", folder=folder), wanted, store).read_bytes()


def test_it_is_fetched_once(site: Site, tmp_path: Path) -> None:
    assert fetch(tmp_path, f"{site.url}/k3s") == K3S
    assert fetch(tmp_path, f"{site.url}/k3s") == K3S
    assert site.asked == ["/k3s"]


def test_it_may_have_moved(site: Site, tmp_path: Path) -> None:
    assert fetch(tmp_path, f"{site.url}/moved") == K3S


def test_another_file_than_the_named_one_is_refused_and_not_kept(
    site: Site, tmp_path: Path
) -> None:
    other = hashlib.sha256(b"another version").hexdigest()
    with pytest.raises(errors.DigestWrong) as caught:
        fetch(tmp_path, f"{site.url}/k3s", other)
    assert caught.value.code == "E732"
    assert DIGEST in str(caught.value), "what it is, to be compared with the announcement"
    assert not list((tmp_path / "cache").iterdir())


def test_a_download_that_breaks_off_is_refused_and_can_be_repeated(
    site: Site, tmp_path: Path
) -> None:
    with pytest.raises((errors.ProgramNotFetched, errors.DigestWrong)):
        fetch(tmp_path, f"{site.url}/broken")
    assert fetch(tmp_path, f"{site.url}/k3s") == K3S


@pytest.mark.parametrize("path", ["/nothing-here", "/downgraded"])
def test_what_a_server_does_not_have_is_named(site: Site, tmp_path: Path, path: str) -> None:
    with pytest.raises(errors.ProgramNotFetched) as caught:
        fetch(tmp_path, f"{site.url}{path}")
    assert caught.value.code == "E708"
    assert site.url in str(caught.value)


def test_a_server_whose_certificate_nobody_knows_is_not_asked_for_anything(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    Authority.new().write(stranger)
    monkeypatch.setenv("SSL_CERT_FILE", str(stranger / "ca.crt"))
    with pytest.raises(errors.ProgramNotFetched, match=r"(?i)certificate"):
        fetch(tmp_path, f"{site.url}/k3s")
    assert site.asked == []


def test_a_server_that_is_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.ProgramNotFetched, match="refused"):
        fetch(tmp_path, "https://127.0.0.1:1/k3s")


def test_a_recipe_with_k3s_says_in_its_plan_what_is_fetched(tmp_path: Path) -> None:
    text = f"""#kairos-image
version: 1.0.0
open: true
flavour: standard
providers:
  - {{name: k3s, source: "https://shop.example/k3s", sha256: {DIGEST}}}
"""
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    (k3s,) = recipe.read(path).providers
    assert k3s.target == "/usr/bin/k3s"
    words = ["build", str(path), "--dry-run", "--output", "json"]
    said = CliRunner().invoke(image, words, catch_exceptions=False)
    assert {
        "step": "fetch",
        "program": "k3s",
        "source": "https://shop.example/k3s",
        "sha256": DIGEST,
    } in json.loads(said.output)["steps"]
