"""A stand-in for the k3s program, for tests: it records how it was started, and joins the fake.

    python -m node.testing.k3s_stand_in agent

It is no k3s. It writes down its arguments, its environment and the files that k3s would read, then
does what an agent's first minute is: node password, key, certificate, kubeconfig, Node.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from node.providers.k3s.token import parse
from node.providers.kubernetes.api import trusting, trusting_nobody_yet
from node.testing.certificates import key_pem

RECORD = "var/lib/rancher/k3s/recorded.json"
AGENT = "var/lib/rancher/k3s/agent"
PASSWORD = "etc/rancher/node/password"


def record(arguments: Sequence[str], environment: Mapping[str, str], root: Path) -> None:
    """Keep how it was started, for the test to look at."""
    files = {
        str(path.relative_to(root)): [oct(path.stat().st_mode & 0o777), path.read_text()]
        for path in sorted((root / "etc/rancher/k3s").rglob("*"))
        if path.is_file()
    }
    kept = {"arguments": list(arguments), "environment": dict(environment), "files": files}
    target = root / RECORD
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(kept, indent=1))


def join(environment: Mapping[str, str], root: Path, name: str) -> None:
    """Join the fake supervisor of `K3S_URL` as the Node `name`.

    Raises OSError, or SystemExit with what k3s' log would say.
    """
    server = urlsplit(environment["K3S_URL"])
    pem = _ask(environment, "GET", "/cacerts", trusting_nobody_yet())
    trust = trusting(pem.decode())
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"system:node:{name}")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    body = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    who = {"k3s-Node-Name": name, "k3s-Node-Password": _password(root)}
    signed = _ask(environment, "POST", "/v1-k3s/client-kubelet.crt", trust, body, who)
    agent = root / AGENT
    agent.mkdir(parents=True, exist_ok=True)
    (agent / "client-kubelet.crt").write_bytes(signed)
    (agent / "client-kubelet.key").write_bytes(key_pem(key))
    (agent / "server-ca.crt").write_bytes(pem)
    (agent / "kubelet.kubeconfig").write_text(_kubeconfig(f"{server.hostname}:{server.port}"))
    trust.load_cert_chain(agent / "client-kubelet.crt", agent / "client-kubelet.key")
    _ask(environment, "POST", "/api/v1/nodes", trust, b"{}")


def _ask(
    environment: Mapping[str, str],
    method: str,
    path: str,
    trust: ssl.SSLContext,
    body: bytes = b"",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    server = urlsplit(environment["K3S_URL"])
    line = http.client.HTTPSConnection(server.hostname or "", server.port, context=trust)
    shown = {**headers, "Authorization": parse(environment["K3S_TOKEN"]).authorization}
    line.request(method, path, body, dict(headers) if path == "/cacerts" else shown)
    answer = line.getresponse()
    content = answer.read()
    line.close()
    if answer.status == 403:
        raise SystemExit("Node password rejected, duplicate hostname or contents of the file")
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {content.decode()}")
    return content


def _password(root: Path) -> str:
    """As k3s: made once, kept on this machine, so that nobody else can take its name."""
    file = root / PASSWORD
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(secrets.token_hex(16))
    return file.read_text()


def _kubeconfig(server: str) -> str:
    """As k3s writes it for its kubelet: paths, no contents."""
    cluster = {"server": f"https://{server}", "certificate-authority": f"/{AGENT}/server-ca.crt"}
    user = {
        "client-certificate": f"/{AGENT}/client-kubelet.crt",
        "client-key": f"/{AGENT}/client-kubelet.key",
    }
    clusters, users = [{"name": "local", "cluster": cluster}], [{"name": "user", "user": user}]
    return json.dumps({"clusters": clusters, "users": users})


def launcher(python: str) -> str:
    """A program for an image's /usr/bin/k3s that starts this module with that interpreter."""
    return f'#!/bin/sh\nexec {python} -m {__name__} "$@"\n'


def main() -> None:
    """As /usr/bin/k3s of a guest: record, join if there is a server, tell systemd, and stay."""
    root = Path("/")
    record(sys.argv[1:], os.environ, root)
    if os.environ.get("K3S_URL"):
        join(os.environ, root, os.environ.get("K3S_NODE_NAME") or socket.gethostname().lower())
    if where := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(b"READY=1", where.replace("@", "\0", 1))
    signal.pause()


if __name__ == "__main__":
    main()
