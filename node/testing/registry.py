"""A real registry (Debian's docker-registry) on loopback, with TLS of our own authority.

with registry(folder, authority, guarded=True) as shop:
    shop.push(layout, "shop:1.1.0")
    shop.run(("curl", ...), seconds=60)     # a door whose curl knows the authority
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from node.testing.certificates import Authority
from pairing import process
from pairing.process import Result

PROGRAM = "docker-registry"
SERVICE, ISSUER = "shop-registry", "test-tokens"
START_SECONDS, COPY_SECONDS = 30.0, 120.0
LIFE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Registry:
    """`host` with its port; `authority` is its TLS authority's file."""

    host: str
    authority: Path

    def push(self, layout: Path, name: str) -> None:
        """Copy an image layout there as `name` (NAME:TAG). Raises errors.CommandFailed."""
        trusted = f"--dest-cert-dir={self.authority.parent}"
        target = f"docker://{self.host}/{name}"
        argv = ["skopeo", "--insecure-policy", "copy", trusted, f"oci:{layout}", target]
        process.run(argv, seconds=COPY_SECONDS)

    def run(self, argv: Sequence[str], **how: Any) -> Result:
        """See `pairing.process.run`; curl trusts the authority as it would a public one."""
        return process.run(argv, environment={"CURL_CA_BUNDLE": str(self.authority)}, **how)


@contextlib.contextmanager
def registry(
    folder: Path, storage: Path, authority: Authority, tokens: str = ""
) -> Iterator[Registry]:
    """Until the context ends. `tokens`: the address of who gives them out; empty: anybody pulls
    and pushes.

    Raises errors.CommandMissing, and AssertionError where it does not start.
    """
    folder.mkdir()
    port = free_port()
    authority.write(folder)
    authority.serve(folder, "server", ["127.0.0.1"])
    tls = {"certificate": str(folder / "server.crt"), "key": str(folder / "server.key")}
    body: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(storage)}},
        "http": {"addr": f"127.0.0.1:{port}", "tls": tls},
    }
    if tokens:
        known = {"rootcertbundle": str(folder / "ca.crt")}
        body["auth"] = {"token": {"realm": tokens, "service": SERVICE, "issuer": ISSUER, **known}}
    (folder / "config.json").write_text(json.dumps(body))  # JSON is YAML
    (folder / "trust").mkdir()
    (folder / "trust/ca.crt").write_text(authority.pem)
    argv = [PROGRAM, "serve", str(folder / "config.json")]
    started = process.start_service(argv, log=folder / "log")
    try:
        _wait(port, folder / "log")
        yield Registry(f"127.0.0.1:{port}", folder / "trust/ca.crt")
    finally:
        started.stop()


def free_port() -> int:
    """A TCP port of loopback that nothing uses now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _wait(port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)  # noqa: TID251 (a process, in real time)


@contextlib.contextmanager
def token_server(folder: Path, authority: Authority, pulls: str) -> Iterator[str]:
    """Gives a token that allows to pull the repository `pulls`, to anybody; its address.

    Source: distribution's token authentication specification (JSON Web Token, ES256, x5c).
    """
    folder.mkdir()
    authority.serve(folder, "tokens", ["127.0.0.1"])

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            body = json.dumps({"token": _token(authority, pulls, asked["service"][0])}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tokens.crt", folder / "tokens.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}/token"
    finally:
        server.shutdown()
        server.server_close()


def _token(authority: Authority, pulls: str, service: str) -> str:
    now = int(time.time())
    chain = authority.certificate.public_bytes(serialization.Encoding.DER)
    head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(chain).decode()]}
    claims = {
        "iss": ISSUER,
        "sub": "",
        "aud": service,
        "nbf": now - 60,
        "iat": now,
        "exp": now + LIFE_SECONDS,
        "jti": secrets.token_hex(8),
        "access": [{"type": "repository", "name": pulls, "actions": ["pull"]}],
    }
    signed = ".".join(_plain(json.dumps(part).encode()) for part in (head, claims))
    r, s = decode_dss_signature(authority.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_plain(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
