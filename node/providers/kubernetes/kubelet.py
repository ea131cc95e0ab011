"""The files with which the kubelet goes on where joining ends. Pure.

No file here holds a secret: the kubelet's certificate lies where it was stored when it was signed
(`identity`), and the bootstrap token is used up by then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from node.providers.kubernetes.identity import CURRENT, FOLDER, PKI
from node.providers.kubernetes.settings import Settings

PROGRAM = "/usr/bin/kubelet"
RUNTIME = "/run/containerd/containerd.sock"
RESOLVER = "/run/systemd/resolve/resolv.conf"
"""The name servers behind systemd-resolved: its own address would mean nothing in a pod."""
UNIT = "kubelet.service"
AUTHORITY = f"/{PKI}/ca.crt"
CONFIG = f"/{FOLDER}/config.json"
KUBECONFIG = f"/{FOLDER}/kubeconfig"


def config() -> str:
    """KubeletConfiguration (kubelet.config.k8s.io/v1beta1): what kubeadm sets, and no more.

    Nobody may ask this kubelet anything without a certificate or token of the cluster. /usr is
    read-only, so volume plug-ins have their place beside the kubelet's other files.
    """
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": AUTHORITY},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "systemd",
            "containerRuntimeEndpoint": f"unix://{RUNTIME}",
            "readOnlyPort": 0,
            "registerNode": True,
            "resolvConf": RESOLVER,
            "rotateCertificates": True,
            "volumePluginDir": f"/{FOLDER}/volume-plugins",
        }
    )


def kubeconfig(settings: Settings) -> str:
    """How the kubelet reaches its API server, and with which certificate."""
    pair = f"/{CURRENT}"
    return _json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "cluster",
                    "cluster": {"server": settings.server, "certificate-authority": AUTHORITY},
                }
            ],
            "users": [
                {"name": "node", "user": {"client-certificate": pair, "client-key": pair}},
            ],
            "contexts": [{"name": "node", "context": {"cluster": "cluster", "user": "node"}}],
            "current-context": "node",
        }
    )


def unit(settings: Settings) -> str:
    """The systemd unit. Started by the provider only, once the certificate is there."""
    return "\n".join(
        (
            "[Unit]",
            "Description=Kubernetes node",
            "Wants=containerd.service",
            "After=containerd.service",
            f"ConditionFileIsExecutable={PROGRAM}",
            "",
            "[Service]",
            f"ExecStart={' '.join(map(_quoted, command(settings)))}",
            "Restart=always",
            "RestartSec=5",
            "",
        )
    )


def command(settings: Settings) -> Sequence[str]:
    """The kubelet's arguments; those of the config come last, so they win."""
    words = [PROGRAM, f"--config={CONFIG}", f"--kubeconfig={KUBECONFIG}"]
    words += [f"--hostname-override={settings.name}", f"--cert-dir=/{PKI}"]
    return [*words, *settings.kubelet_arguments]


def _quoted(word: str) -> str:
    """One word of ExecStart (systemd.syntax(7), systemd.service(5)): nothing in it is expanded."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + escaped.replace("%", "%%").replace("$", "$$") + '"'


def _json(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"
