"""The product image joins clusters: from the stick and its photo to a Node that is Ready.

One machine is installed by one command that waits until it is ready in a real cluster. It is then
set back to its first start several times, with another cluster in its config, and an operator
who comes with the same photo hears how that ends.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from node.testing import cluster as clusters
from node.testing import cluster_image, k3s_stand_in, shop_provider
from node.testing.certificates import Authority
from node.testing.cluster import Cluster, control_plane
from node.testing.images import Factory
from node.testing.shop import FIND_SECONDS, SSH_SECONDS, Shop
from pairing import errors, keys
from pairing.errors import ExitCode
from pairing.testing import qemu
from pairing.testing.lan import HOST, Lan
from pairing.testing.neighbour import LABEL, addresses_of, echo_through, inside
from pairing.testing.operators import Operator, Run
from pairing.transport import relay
from pairing.transport.relay import RelayAddress
from tests.e2e.conftest import ARTEFACTS, INSTALL_SECONDS, RESTART_SECONDS, fresh

pytestmark = [
    pytest.mark.root,
    pytest.mark.kube,
    pytest.mark.timeout(1500),
]

READY_SECONDS, FAIL_SECONDS, K3S_SECONDS = 240.0, 240.0, 300.0
FILE_SECONDS, ANSWER_SECONDS = 240.0, 30.0
REFUSED_MS = 60_000
"""From the start of joining to Failed, by the machine's clock (issue 4)."""
FIRST = "/oem/.kairos/tenancy.first"
"""The lease as it was at the first start: the stage `boot` keeps it for these tests."""
K3S_PORT = 6444
NOBODY = "https://10.77.0.254:6443"
STRANGE = 'a "b" $c `d` %e \\f #g'
"""A variable with everything that systemd might take for something else."""
CONFIG = f"""#cloud-config
hostname: NAME
users:
  - name: ana
    groups: [admin]
    ssh_authorized_keys:
      - PUBLIC
install:
  device: auto
  encrypt: tpm2
stages:
  boot:
    - commands: [cp /oem/.kairos/tenancy.json {FIRST}]
"""


RELAY_PORT = 4430
MEETING = f"p2p: {{mdns: true, relay: {{enabled: true, port: {RELAY_PORT}, names: [a.example]}}}}\n"


@dataclass(frozen=True, slots=True)
class Till:
    """A machine, its operator, and the cluster that it belongs to."""

    shop: Shop
    cluster: Cluster
    token: str

    @property
    def photo(self) -> Path:
        return self.shop.folder / "photo.jpg"

    @property
    def first_home(self) -> Path:
        """The operator's home as it was at the machine's first start."""
        return self.shop.folder / "first-home"

    def config(self, name: str, text: str) -> Path:
        """A config for the machine: `text` says which cluster."""
        public = (self.shop.folder / "id.pub").read_text().strip()
        path = self.shop.folder / f"{name}.yaml"
        path.write_text(CONFIG.replace("NAME", name).replace("PUBLIC", public) + text)
        return path

    def root(self, command: str, seconds: float = SSH_SECONDS) -> str:
        """What the installed machine answers to root."""
        packed = base64.b64encode(command.encode()).decode()
        return self.shop.on(f"echo {packed} | base64 -d | sudo -n sh -e", seconds)

    def file(self, path: str) -> str:
        """What is in a file of the machine, once it is there."""
        wait = f"while ! test -s {path}; do sleep 1; done"
        return self.root(f"{wait}; cat {path}", FILE_SECONDS)

    def set_back(self, name: str, text: str) -> Path:
        """The machine at its first start, with another cluster in its config: that config."""
        config = self.config(name, text)
        packed = base64.b64encode(config.read_bytes()).decode()
        self.root(f"""
            systemctl stop kairos-node kubelet k3s k3s-agent 2>/dev/null || true
            cp {FIRST} /oem/.kairos/tenancy.json
            rm -rf /var/lib/kubelet/pki /var/lib/rancher/k3s
            echo {packed} | base64 -d > /oem/90_custom.yaml
            systemctl start --no-block kairos-node
        """)
        return config

    @contextlib.contextmanager
    def again(self, name: str, text: str, goal: str = "joined") -> Iterator[Run]:
        """The same, and its operator, who comes with the photo and knows what they knew then."""
        config = self.set_back(name, text)
        home = self.shop.folder / f"home-{name}"
        shutil.copytree(self.first_home, home, symlinks=True)
        operator = Operator(self.shop.network.place, home)
        wait = ("--wait", goal, "--timeout", str(FIND_SECONDS))
        with operator.register(self.photo, config, *wait) as run:
            yield run


def kubernetes(cluster: Cluster, token: str, *, server: str = "", authority: str = "") -> str:
    """The part of a config that joins `cluster`; or one that is wrong in some way."""
    pem = (authority or cluster.authority.pem).strip().replace("\n", "\n    ")
    return (
        f"kubernetes:\n  enabled: true\n  labels: {{shop: '7'}}\n  server: "
        f"{server or cluster.server}\n  token: {token}\n  ca: |-\n    {pem}\n"
    )


@pytest.fixture(scope="module")
def stick() -> Path:
    if lacking := clusters.missing():
        pytest.skip(f"not installed: {', '.join(lacking)} (as root: .ci/packages)")
    folder = fresh(ARTEFACTS / "join-image")
    factory = Factory(folder / "built", folder / "keys", cluster_image.recipe(folder / "recipe"))
    return factory.build("1.0.0", files=tuple(factory.recipe.files)).stick


@pytest.fixture(scope="module")
def till(network: Lan, stick: Path) -> Iterator[Till]:
    shop = Shop.new(network, fresh(ARTEFACTS / "join"), CONFIG, 90)
    shop.box.hardware = replace(shop.box.hardware, memory=cluster_image.NEEDED_MEMORY)
    with control_plane(shop.folder / "cluster", network.place, HOST) as cluster:
        yield Till(shop, cluster, cluster.token())


@pytest.fixture(scope="module")
def live(till: Till, stick: Path) -> Iterator[qemu.Machine]:
    """The machine, started from the stick, with a code and its address on the screen."""
    with till.shop.live(stick) as machine:
        shutil.copy(till.shop.photo(machine), till.photo)
        yield machine


@pytest.fixture(scope="module")
def joined(till: Till, live: qemu.Machine) -> Iterator[Run]:
    """One command, from the photo to the cluster. A program of the image goes first."""
    text = MEETING + "providers: [shop, kubernetes]\n" + kubernetes(till.cluster, till.token)
    wait = ("--wait", "ready", "--timeout", str(FIND_SECONDS))
    operator = till.shop.operator
    with operator.register(till.photo, till.config("till-7", text), *wait) as run:
        run.until("rebooting", INSTALL_SECONDS)
        shutil.copytree(operator.folder, till.first_home, symlinks=True)
        run.end(RESTART_SECONDS + READY_SECONDS)
        yield run


def test_one_command_from_the_photo_to_a_ready_member_of_the_cluster(
    joined: Run, till: Till
) -> None:
    assert joined.end(1) == ExitCode.DONE, joined.end_of()
    assert joined.states[-4:] == ["rebooting", "installed", "joined", "ready"]
    node = till.cluster.node("till-7")
    assert node is not None
    assert node["metadata"]["labels"]["shop"] == "7"


def test_its_node_is_ready_and_runs_a_pod(joined: Run, till: Till) -> None:
    found = till.cluster.node("till-7")
    assert is_ready(found), json.dumps(found)[-3000:]
    assert found is not None
    info = found["status"]["nodeInfo"]
    assert info["systemUUID"] == till.shop.box.hardware.uuid
    assert info["containerRuntimeVersion"].startswith("containerd://")
    pod = till.cluster.run_pod("till", "till-7", cluster_image.POD)
    assert pod["status"]["podIP"].startswith("10.88.")
    assert till.shop.on("findmnt -no FSTYPE /") == "squashfs"
    assert till.shop.on("systemctl list-units --state=failed --plain --no-legend") == ""
    for path in ("/var/lib/kubelet", "/var/lib/containerd"):
        assert till.shop.on(f"findmnt -no SOURCE {path}").startswith("/dev/mapper/kr_persistent")


def is_ready(node: Mapping[str, Any] | None) -> bool:
    conditions = node["status"].get("conditions", ()) if node else ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def test_a_program_of_the_image_hears_the_events_that_kairos_providers_hear(
    joined: Run, till: Till
) -> None:
    """Nothing of the config is in its arguments or its environment."""
    heard = [json.loads(line) for line in till.root(f"cat {shop_provider.RECORD}").splitlines()]
    assert [one["arguments"] for one in heard] == [
        ["agent.bootstrap"],
        ["kairos-register.status"],
        ["kairos-register.status"],
    ]
    assert [one["input"]["name"] for one in heard] == [one["arguments"][0] for one in heard]
    data = json.loads(heard[0]["input"]["data"])
    assert set(data) == {"api", "config", "logfile"}
    assert till.token in data["config"]
    assert not [one for one in heard if till.token in json.dumps(one["environment"])]
    steps = [line["step"] for line in joined.of("step") if line["step"].startswith("join-")]
    assert list(dict.fromkeys(steps)) == ["join-p2p", "join-shop", "join-kubernetes"]


def test_the_machine_is_a_relay_for_others(joined: Run, till: Till) -> None:
    """Its operator is told the address; the pin in it is the one that counts."""
    (said,) = {line["text"] for line in joined.of("step") if "#sha256=" in line.get("text", "")}
    pin = said.partition("#sha256=")[2][:64]
    host = till.shop.network.address(till.shop.box.hardware.mac)
    place, body = till.shop.network.place, b"from one end to the other" * 1000
    right = RelayAddress.parse(f"{host}:{RELAY_PORT}#sha256={pin}")
    assert inside(place, lambda: echo_through(right, body)) == body
    wrong = RelayAddress.parse(f"{host}:{RELAY_PORT}#sha256={'0' * 64}")
    with pytest.raises(errors.RelayCertificate):
        inside(place, lambda: relay.call(wrong, keys.generate().public, LABEL))


def test_who_breaks_into_the_relay_finds_nothing_of_the_machine(joined: Run, till: Till) -> None:
    """What the relay's process sees; the control is what everybody else's root sees."""
    relay_pid, limits = till.shop.on(
        "systemctl show --property=MainPID,CapabilityBoundingSet --value kairos-relay.service"
    ).split()
    look = "find /oem /boot /home /root /var/lib/kubelet -mindepth 1 || :; cat /etc/shadow"
    everything = till.root(look)
    assert "/oem/90_custom.yaml" in everything
    assert "ana:" in everything
    assert till.root(f"nsenter --mount --target {relay_pid} sh -c '{look}'") == ""
    assert limits == "cap_net_bind_service"


def test_the_machine_has_a_name_in_its_lan(joined: Run, till: Till) -> None:
    place, mac = till.shop.network.place, till.shop.box.hardware.mac
    found = inside(place, lambda: addresses_of("till-7", ANSWER_SECONDS))
    assert found == {till.shop.network.address(mac)}


def failed(till: Till, name: str, text: str) -> str:
    """The error that the operator hears of a machine with this config, in time."""
    with till.again(name, text) as run:
        assert run.end(FAIL_SECONDS) == ExitCode.NODE_FAILED, run.end_of()
    assert "installed" in run.states, "the machine itself is well"
    began = next(line for line in run.of("step") if line["step"] == "join-kubernetes")
    told = run.of("state", "failed")[-1]
    assert told["up_ms"] - began["up_ms"] < REFUSED_MS
    assert till.cluster.node(name) is None
    return str(run.verdict["error"]["slug"])


def test_a_wrong_token_is_failed_at_the_operator(joined: Run, till: Till) -> None:
    wrong = till.token[:-1] + ("a" if till.token[-1] != "a" else "b")
    assert failed(till, "till-1", kubernetes(till.cluster, wrong)) == "join-token"


def test_an_expired_token_is_failed_at_the_operator(joined: Run, till: Till) -> None:
    expired = till.cluster.token(timedelta(minutes=-1))
    assert failed(till, "till-2", kubernetes(till.cluster, expired)) == "join-token"


def test_a_server_that_is_away_is_failed_at_the_operator(joined: Run, till: Till) -> None:
    text = kubernetes(till.cluster, till.token, server=NOBODY)
    assert failed(till, "till-3", text) == "join-unreachable"


def test_a_server_of_another_authority_is_failed_at_the_operator(joined: Run, till: Till) -> None:
    text = kubernetes(till.cluster, till.token, authority=Authority.new().pem)
    assert failed(till, "till-4", text) == "join-ca"


def test_k3s_is_started_as_it_was_asked_for_and_joins_the_fake(joined: Run, till: Till) -> None:
    """The install contract on the product image: neither k3s nor its server is real."""
    fake = f"{cluster_image.INTERPRETER} -m node.testing.k3s_supervisor /run/fake {K3S_PORT}"
    till.root(f"systemd-run --quiet --unit fake {fake}")
    token = till.file("/run/fake/token")
    env = {"K3S_URL": f"https://127.0.0.1:{K3S_PORT}", "K3S_TOKEN": token, "STRANGE": STRANGE}
    text = json.dumps({"enabled": True, "args": ["--debug"], "env": env})
    with till.again("till-5", f"k3s-agent: {text}\n", "ready") as run:
        assert run.end(K3S_SECONDS) == ExitCode.DONE, run.end_of()
    recorded = json.loads(till.root(f"cat /{k3s_stand_in.RECORD}"))
    assert recorded["arguments"] == ["agent"]
    assert {key: recorded["environment"][key] for key in env} == env
    assert recorded["files"]["etc/rancher/k3s/config.yaml"] == ["0o600", '"debug": true\n']
    shown = "systemctl show --property=After,ActiveState --value k3s-agent.service"
    expected = {"network-online.target", "kairos-stage-network.service", "active"}
    assert expected <= set(till.shop.on(shown).split())
    secret = token.rpartition(":")[2]
    assert secret not in till.root("journalctl --no-pager -o cat")
    assert secret not in till.root("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")


def test_k3s_begins_a_cluster_as_it_was_asked_to(joined: Run, till: Till) -> None:
    """The same of a server; the stand-in serves nothing, so nobody waits for a Node."""
    asked = {"enabled": True, "args": ["--disable=traefik", "--cluster-init"]}
    till.set_back("till-6", f"k3s: {json.dumps(asked)}\n")
    recorded = json.loads(till.file(f"/{k3s_stand_in.RECORD}"))
    assert recorded["arguments"] == ["server"]
    settings = recorded["files"]["etc/rancher/k3s/config.yaml"]
    assert settings == ["0o600", '"disable": "traefik"\n"cluster-init": true\n']
    assert till.shop.on("systemctl is-active k3s.service") == "active"


def test_no_token_is_in_a_log_of_the_machine(joined: Run, till: Till, live: qemu.Machine) -> None:
    assert till.token in till.root(f"cat {shop_provider.RECORD}"), "it was on the machine"
    assert till.token not in till.root("journalctl --no-pager -o cat")
    assert till.token not in live.serial[0].text()
