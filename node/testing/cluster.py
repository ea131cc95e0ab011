"""A real Kubernetes control plane for tests: etcd, kube-apiserver, kube-controller-manager.

    with control_plane(folder) as cluster:
        token = cluster.token()
        ... join with cluster.server, token, cluster.authority.pem ...
        assert cluster.node("shop-7")

As in production: RBAC and Node authorisation, NodeRestriction, bootstrap tokens, certificate
requests approved and signed by the controllers. There is no scheduler and no network for pods.
With `place` all of it runs in a network namespace, for virtual machines on the same switch.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import string
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from node.providers.kubernetes.api import Answer, Api, Connect, Json, tcp, trusting
from node.providers.kubernetes.identity import write_private
from node.testing import cluster_objects, kube_build
from node.testing.certificates import Authority, key_pem
from pairing import process
from pairing.errors import CommandFailed, KnownError
from pairing.testing import netns
from pairing.testing.netns import Namespace

LOOPBACK = "127.0.0.1"
CLUSTER_IP = "10.96.0.1"
READY_SECONDS = 120.0
"""Until the control plane answers; eight on an idle machine."""
LOOK_PAUSE = 0.1
STOP_SECONDS = 2.0
"""Then they are killed: an API server waits for its watchers, and nothing here is kept."""
LAST_ROLE = (
    "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public/rolebindings/"
    "system:controller:bootstrap-signer"
)
"""An API server makes its built-in roles when it starts; this is the last one."""
CONTROLLERS = (
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-signing-controller",
    "bootstrap-signer-controller",
    "token-cleaner-controller",
    "node-lifecycle-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
)
"""What joining needs; without the rest it is ready sooner."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running control plane, asked as its administrator."""

    host: str
    port: int
    authority: Authority
    folder: Path
    api: Api = field(repr=False)

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.host}:{self.port}"

    @property
    def connect(self) -> Connect:
        """How to reach it from this process, wherever it runs."""
        return self.api.connect

    def token(self, life: timedelta = timedelta(hours=1)) -> str:
        """Make a bootstrap token; with a negative `life` one that has expired."""
        token = f"{_word(6)}.{_word(16)}"
        ends = datetime.now(UTC) + life
        made = cluster_objects.bootstrap_token(token, ends)
        self.must("POST", "/api/v1/namespaces/kube-system/secrets", made)
        return token

    def forget(self, token: str) -> None:
        """Remove a bootstrap token, as the controller does some time after its end."""
        name = f"bootstrap-token-{token.partition('.')[0]}"
        self.must("DELETE", f"/api/v1/namespaces/kube-system/secrets/{name}")

    def cluster_info(self, token: str) -> None:
        """Until the public cluster-info is signed with `token`, for those who only have a hash."""
        key = f"jws-kubeconfig-{token.partition('.')[0]}"
        path = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
        _until(lambda: key in self.must("GET", path)["data"], "a signed cluster-info")

    def node(self, name: str) -> Json | None:
        """The Node object, if there is one."""
        answer = self.api.ask("GET", f"/api/v1/nodes/{name}")
        return answer.body if answer.status == 200 else None

    def delete_node(self, name: str) -> None:
        """Remove a Node."""
        self.must("DELETE", f"/api/v1/nodes/{name}")

    def run_pod(self, name: str, node: str, image: str) -> Json:
        """Run a pod on this Node, past any scheduler, until it runs."""
        pods = "/api/v1/namespaces/default/pods"
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        _until(lambda: self.api.ask("GET", account).status == 200, "default service account")
        self.must("POST", pods, cluster_objects.pod(name, node, image))
        path = f"{pods}/{name}"
        _until(lambda: self.must("GET", path)["status"].get("phase") == "Running", "running pod")
        return self.must("GET", path)

    def must(self, method: str, path: str, body: Json | None = None) -> Json:
        """Ask, and insist on a good answer."""
        answer: Answer = self.api.ask(method, path, body)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.reason}"
        return answer.body


def missing() -> Sequence[str]:
    """What this machine lacks to run one, for a skip that names it."""
    tools = [tool for tool in ("etcd",) if shutil.which(tool, path=process.PATH) is None]
    if kube_build.built("control") is None and not kube_build.go():
        tools.append("go")
    return tools


@contextlib.contextmanager
def control_plane(
    folder: Path, place: Namespace | None = None, host: str = LOOPBACK
) -> Iterator[Cluster]:
    """Start one that answers at `host`; its files and logs go to `folder`.

    Raises errors.CommandMissing (etcd, Go) and errors.CommandFailed (the build).
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority = _certificates(folder, host)
    admin = secrets.token_hex(16)
    write_private(folder / "admin.csv", f"{admin},admin,admin,system:masters\n".encode())
    connect = tcp if place is None else partial(connected_inside, place)
    etcd, etcd_peer, port = _ports(3)
    cluster = Cluster(
        host, port, authority, folder, Api(host, port, trusting(authority.pem), admin, connect)
    )
    words = () if place is None else ("ip", "netns", "exec", place.name)
    with contextlib.ExitStack() as stack:

        def start(name: str, argv: Sequence[str]) -> process.Service:
            started = process.start_service([*words, *argv], log=folder / f"{name}.log")
            stack.callback(started.stop, STOP_SECONDS)
            return started

        start("etcd", _etcd(folder, etcd, etcd_peer))
        server = start("kube-apiserver", _apiserver(folder, host, port, etcd))
        log = folder / "kube-apiserver.log"
        _until(lambda: _answers(cluster.api, server, log), f"answer of the API server, see {log}")
        access = cluster_objects.kubeconfig(cluster.server, authority.pem, admin)
        write_private(folder / "controllers.conf", access.encode())
        start("kube-controller-manager", _controllers(folder))
        for path, body in cluster_objects.joining(cluster.server, authority.pem):
            cluster.must("POST", path, body)
        yield cluster


def connected_inside(place: Namespace, host: str, port: int, seconds: float) -> socket.socket:
    """A connection made in another network namespace; a socket stays where it was made."""
    made: list[socket.socket | OSError] = []

    def inside() -> None:
        try:
            netns.enter(place.name)  # this thread only
            made.append(socket.create_connection((host, port), seconds))
        except OSError as wrong:
            made.append(wrong)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    result = made[0]
    if isinstance(result, OSError):
        raise result
    return result


# --- the programs -----------------------------------------------------------------------------


def _certificates(folder: Path, host: str) -> Authority:
    authority = Authority.new("kubernetes")
    authority.write(folder)
    authority.serve(folder, "apiserver", [*{host, LOOPBACK}, CLUSTER_IP, "kubernetes.default.svc"])
    (folder / "accounts.key").write_bytes(key_pem(Authority.new().key))
    return authority


def _etcd(folder: Path, port: int, peer: int) -> list[str]:
    client, other = f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{peer}"
    argv = ["etcd", "--name", "test", "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync"]
    argv += ["--listen-client-urls", client, "--advertise-client-urls", client]
    argv += ["--listen-peer-urls", other, "--initial-advertise-peer-urls", other]
    return [*argv, "--initial-cluster", f"test={other}"]


def _apiserver(folder: Path, host: str, port: int, etcd: int) -> list[str]:
    return [
        str(_called(folder, "kube-apiserver")),
        f"--etcd-servers=http://{LOOPBACK}:{etcd}",
        f"--bind-address={host}",
        f"--advertise-address={host}",
        f"--secure-port={port}",
        f"--tls-cert-file={folder / 'apiserver.crt'}",
        f"--tls-private-key-file={folder / 'apiserver.key'}",
        f"--client-ca-file={folder / 'ca.crt'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--enable-bootstrap-token-auth",
        f"--token-auth-file={folder / 'admin.csv'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'accounts.key'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
        "--service-cluster-ip-range=10.96.0.0/16",
    ]


def _controllers(folder: Path) -> list[str]:
    return [
        str(_called(folder, "kube-controller-manager")),
        f"--kubeconfig={folder / 'controllers.conf'}",
        f"--controllers={','.join(CONTROLLERS)}",
        f"--cluster-signing-cert-file={folder / 'ca.crt'}",
        f"--cluster-signing-key-file={folder / 'ca.key'}",
        f"--root-ca-file={folder / 'ca.crt'}",
        f"--service-account-private-key-file={folder / 'accounts.key'}",
        "--leader-elect=false",
        "--secure-port=0",
    ]


def _called(folder: Path, name: str) -> Path:
    """The program under the name that tells it what to be."""
    link = folder / name
    if not link.is_symlink():
        link.symlink_to(kube_build.build("control"))
    return link


def _ports(count: int) -> list[int]:
    """Free ports of this machine; in a namespace of its own they are free as well."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind((LOOPBACK, 0))
        return [int(one.getsockname()[1]) for one in held]


def _answers(api: Api, server: process.Service, log: Path) -> bool:
    if not server.running:
        raise CommandFailed(log.read_text(errors="replace")[-500:], element="kube-apiserver")
    try:
        return api.ask("GET", LAST_ROLE).status == 200
    except KnownError:
        return False


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} after {READY_SECONDS:g} seconds")
        threading.Event().wait(LOOK_PAUSE)


def _word(length: int) -> str:
    letters = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(letters) for _ in range(length))
