"""What a config says about the Kubernetes cluster to join. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pairing import errors
from pairing.config.document import Document
from pairing.facts import Facts

KEY = "kubernetes"
PORT = 6443
HASH = re.compile(r"sha256:[0-9a-f]{64}")
TOKEN = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")
"""A bootstrap token: its id (public), a dot, its secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The cluster, and as what the machine joins it.

    `authority` is the cluster's certificate authority as PEM, or `sha256:` and the hash of its
    public key, as `kubeadm token create --print-join-command` prints it. `name` is the Node's.
    """

    host: str
    port: int
    token: str = field(repr=False)
    authority: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    kubelet_arguments: Sequence[str] = ()

    @property
    def server(self) -> str:
        """The API server's URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


def wanted(config: Document) -> bool:
    """Whether the config asks for it."""
    return config.get(KEY, "enabled") is True


def settings(config: Document, facts: Facts) -> Settings:
    """What a valid config says. Raises errors.JoinSettingsIncomplete."""
    asked = config.get(KEY)
    if not isinstance(asked, dict):
        raise errors.JoinSettingsIncomplete("The config has no kubernetes.")
    host, port = _address(str(asked.get("server", "")))
    token, authority = str(asked.get("token", "")), str(asked.get("ca", "")).strip()
    if not TOKEN.fullmatch(token):
        raise errors.JoinSettingsIncomplete("kubernetes.token is not a bootstrap token.")
    if not (HASH.fullmatch(authority) or "BEGIN CERTIFICATE" in authority):
        raise errors.JoinSettingsIncomplete("kubernetes.ca is no certificate and no hash.")
    kubelet = asked.get("kubelet")
    arguments = kubelet.get("args", ()) if isinstance(kubelet, dict) else ()
    labels = asked.get("labels")
    return Settings(
        host=host,
        port=port,
        token=token,
        authority=authority,
        name=_name(config, facts),
        labels={key: str(value) for key, value in labels.items()} if labels else {},
        kubelet_arguments=tuple(map(str, arguments)),
    )


def _name(config: Document, facts: Facts) -> str:
    """The Node is named like the machine, in lower case; without a hostname, by its SMBIOS UUID.

    Never by what every fresh system is called: two of them would be one Node.
    """
    hostname = config.get("hostname")
    if isinstance(hostname, str):
        return hostname.lower()
    if not facts.uuid:
        raise errors.JoinSettingsIncomplete("The machine has no hostname.")
    return f"node-{facts.uuid.lower()}"


def _address(server: str) -> tuple[str, int]:
    try:
        parts = urlsplit(server if "://" in server else f"https://{server}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise errors.JoinSettingsIncomplete("kubernetes.server is not an address.")
    return host, port or PORT
