"""A fake of a k3s server's supervisor, for tests: it speaks the joining protocol, and runs nothing.

It is no k3s. It answers as k3s' handlers do (pkg/server/handlers in its sources): `/cacerts`,
tokens with an authority's hash, bootstrap tokens that expire, certificates for a kubelet, node
passwords, and just enough of an API server that a Node can be made and read, and its version asked.
"""

from __future__ import annotations

import base64
import json
import signal
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from node.providers.k3s.token import PREFIX, authority_hash
from node.testing.certificates import LIFE, Authority, key_pem

NODE = "system:node:"


@dataclass
class Supervisor:
    """What the server knows. `nodes` maps a name to whether it is Ready."""

    authority: Authority
    password: str = "test-cluster-password"
    bootstrap: dict[str, bool] = field(default_factory=dict)
    """Bootstrap tokens, and whether each is still good."""
    nodes: dict[str, bool] = field(default_factory=dict)
    node_passwords: dict[str, str] = field(default_factory=dict)
    all_ready: bool = False
    """Every Node is Ready as soon as it is there."""
    starting: int = 0
    """So many questions are answered with 503 first."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and Authorization header of every request."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        """As in the server's node-token file."""
        return f"{self.named}::server:{self.password}"

    @property
    def named(self) -> str:
        """What every token of this cluster begins with."""
        return PREFIX + authority_hash(self.authority.pem.encode())

    @property
    def kubeconfig(self) -> str:
        """As k3s writes it for its administrator: certificates and key inside (JSON is YAML)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "system:admin")])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject)
        signed = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        cluster = {"server": self.url, "certificate-authority-data": _packed(self.authority.pem)}
        user = {
            "client-certificate-data": _packed(self.authority.sign(signed).decode()),
            "client-key-data": _packed(key_pem(key).decode()),
        }
        clusters = [{"name": "default", "cluster": cluster}]
        return json.dumps({"clusters": clusters, "users": [{"name": "default", "user": user}]})

    def admits(self, authorization: str) -> bool:
        """Whether an agent with this header may join."""
        if authorization.startswith("Bearer "):
            return self.bootstrap.get(authorization.removeprefix("Bearer "), False)
        words = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        return words == f"node:{self.password}"

    def certificate(self, name: str, password: str, request: bytes) -> bytes | None:
        """A kubelet's certificate for a request (DER); None if the name is somebody else's."""
        if self.node_passwords.setdefault(name, password) != password:
            return None
        csr = x509.load_der_x509_csr(request)
        assert _common_name(csr.subject) == f"{NODE}{name}"
        return self.authority.sign(csr.public_bytes(serialization.Encoding.PEM))


@contextmanager
def running(
    supervisor: Supervisor, folder: Path, port: int = 0, life: timedelta = LIFE
) -> Iterator[Supervisor]:
    """Serve `supervisor` on the loopback interface; `folder` keeps its certificate."""
    supervisor.authority.serve(folder, "supervisor", ["127.0.0.1"], life)
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(folder / "supervisor.crt", folder / "supervisor.key")
    trust.load_verify_locations(cadata=supervisor.authority.pem)
    trust.verify_mode = ssl.CERT_OPTIONAL
    handler = type("Handler", (_Handler,), {"supervisor": supervisor})
    server = _Server(("127.0.0.1", port), handler)
    server.socket = trust.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    supervisor.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield supervisor
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """Callers that hang up in the middle are no news."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    supervisor: Supervisor
    timeout = 10

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _answer(self, body: bytes) -> None:
        authorization = self.headers.get("Authorization", "")
        self.supervisor.asked.append((self.path, authorization))
        if self.path == "/cacerts":
            self._send(200, self.supervisor.authority.pem.encode())
        elif self.path.startswith("/api/") or self.path == "/version":
            self._api(body)
        elif not authorization or not self.supervisor.admits(authorization):
            self._send(401, b"not authorized")
        elif self.supervisor.starting > 0:
            self.supervisor.starting -= 1
            self._send(503, b"starting")
        elif self.path == "/v1-k3s/client-kubelet.crt":
            self._certificate(body)
        else:
            self._send(200 if self.path == "/v1-k3s/config" else 404, b"{}")

    def _certificate(self, body: bytes) -> None:
        name = self.headers.get("k3s-Node-Name", "")
        password = self.headers.get("k3s-Node-Password", "")
        signed = self.supervisor.certificate(name, password, body)
        self._send(403 if signed is None else 200, signed or b"forbidden")

    def _api(self, body: bytes) -> None:
        assert isinstance(self.connection, ssl.SSLSocket)
        shown = self.connection.getpeercert(binary_form=True)
        if shown is None:
            self._send(401, b"{}")
            return
        if self.path == "/version":
            self._send(200, b'{"gitVersion": "v1.31.0+k3s1"}')
            return
        name = _common_name(x509.load_der_x509_certificate(shown).subject).removeprefix(NODE)
        if self.command == "POST":
            self.supervisor.nodes[name] = False
        if name not in self.supervisor.nodes or self.path.rpartition("/")[2] not in ("nodes", name):
            self._send(404, b"{}")
            return
        good = self.supervisor.all_ready or self.supervisor.nodes[name]
        ready = "True" if good else "False"
        condition = {
            "type": "Ready",
            "status": ready,
            "reason": "KubeletNotReady",
            "message": "cni",
        }
        node = {"metadata": {"name": name}, "status": {"conditions": [condition]}}
        self._send(200, json.dumps(node).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def main(folder: Path, port: int) -> None:
    """In a test's machine: serve until killed; the token is in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with running(Supervisor(Authority.new(), all_ready=True), folder, port) as supervisor:
        (folder / "token").write_text(supervisor.token)
        signal.pause()


def _packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _common_name(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
