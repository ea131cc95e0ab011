"""One request to an API server, over real TLS on loopback: whom it trusts, what can go wrong."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from node.providers.kubernetes import api as module
from node.providers.kubernetes.api import Api, trusting, trusting_nobody_yet, with_certificate
from node.providers.kubernetes.identity import Identity
from node.testing import certificates
from node.testing.certificates import Authority
from pairing import errors

CA = Authority.new()
TOKEN = "abcdef.0123456789abcdef"


class Handler(BaseHTTPRequestHandler):
    """Says who asked; `/page` is something else."""

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def do_GET(self) -> None:
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        connection: Any = self.connection
        peer = connection.getpeercert() or {}
        said = {
            "token": self.headers.get("Authorization", ""),
            "kind": self.headers.get("Content-Type", ""),
            "body": body.decode(),
            "peer": str(peer.get("subject", "")),
        }
        text = b"<html>" if self.path == "/page" else json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving(
    folder: Path, hosts: tuple[str, ...] = ("127.0.0.1",), life: timedelta = certificates.LIFE
) -> Iterator[int]:
    CA.write(folder)
    CA.serve(folder, "server", hosts, life)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.crt", folder / "server.key")
    tls.load_verify_locations(folder / "ca.crt")
    tls.verify_mode = ssl.CERT_OPTIONAL
    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(HTTPServer):
    """Does not print that a client went away."""

    def handle_error(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with serving(tmp_path) as port:
        yield port


def test_the_token_goes_to_the_right_authority(port: int) -> None:
    answer = Api("127.0.0.1", port, trusting(CA.pem), TOKEN).ask("POST", "/x", {"a": 1})
    assert answer.status == 200
    assert answer.body["token"] == f"Bearer {TOKEN}"
    assert answer.body["kind"] == "application/json"
    assert json.loads(answer.body["body"]) == {"a": 1}


def test_the_machine_shows_its_certificate(port: int, tmp_path: Path) -> None:
    identity = Identity(tmp_path, "till-7")
    key = identity.key()
    identity.keep(CA.sign(base64.b64decode(identity.request(key)["spec"]["request"])), key)
    answer = Api("127.0.0.1", port, with_certificate(CA.pem, identity.pair)).ask("GET", "/x")
    assert "system:node:till-7" in answer.body["peer"]
    assert answer.body["token"] == ""


def test_another_authority_is_refused_and_no_check_would_take_it(port: int) -> None:
    with pytest.raises(errors.JoinCaMismatch):
        Api("127.0.0.1", port, trusting(Authority.new().pem), TOKEN).ask("GET", "/x")
    # The control: it is the check of the certificate that refuses, not something else.
    assert Api("127.0.0.1", port, trusting_nobody_yet()).ask("GET", "/x").status == 200


def test_the_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, ("other.example",)) as port, pytest.raises(errors.JoinCaMismatch):
        Api("127.0.0.1", port, trusting(CA.pem), TOKEN).ask("GET", "/x")


def test_a_certificate_that_ended_is_a_matter_of_the_clock(tmp_path: Path) -> None:
    ended = timedelta(minutes=-5)
    with serving(tmp_path, life=ended) as port, pytest.raises(errors.JoinClockWrong):
        Api("127.0.0.1", port, trusting(CA.pem)).ask("GET", "/x")


def test_a_page_is_no_answer(port: int) -> None:
    with pytest.raises(errors.JoinAnswerUnknown):
        Api("127.0.0.1", port, trusting(CA.pem)).ask("GET", "/page")


def test_too_much_is_no_answer(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_LIMIT", 10)
    with pytest.raises(errors.JoinAnswerUnknown):
        Api("127.0.0.1", port, trusting(CA.pem)).ask("GET", "/x")


def test_a_closed_port() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(errors.JoinUnreachable, match="refused"):
            Api("127.0.0.1", held.getsockname()[1], trusting(CA.pem)).ask("GET", "/x")


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        with pytest.raises(errors.JoinUnreachable, match="timed out"):
            Api("127.0.0.1", held.getsockname()[1], trusting(CA.pem)).ask("GET", "/x")


def test_a_server_without_tls() -> None:
    def plain() -> None:
        line, _ = held.accept()
        line.recv(100)
        line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        line.close()

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        thread = threading.Thread(target=plain)
        thread.start()
        with pytest.raises(errors.JoinUnreachable, match="TLS"):
            Api("127.0.0.1", held.getsockname()[1], trusting(CA.pem)).ask("GET", "/x")
        thread.join()


def test_no_name_server() -> None:
    def nobody(host: str, port: int, seconds: float) -> socket.socket:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(errors.JoinUnreachable, match="Name or service"):
        Api("cluster.example", 6443, trusting(CA.pem), connect=nobody).ask("GET", "/x")


def test_an_authority_that_is_none() -> None:
    with pytest.raises(errors.JoinCaMismatch):
        trusting("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_no_repr_shows_the_token() -> None:
    assert TOKEN not in repr(Api("a", 1, trusting(CA.pem), TOKEN))
