"""What a cluster needs so that machines can join it: the objects that kubeadm makes too.

Source: kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping and
.../bootstrap-tokens.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import datetime

from node.providers.kubernetes.api import Json

RBAC = "rbac.authorization.k8s.io"
BINDINGS = f"/apis/{RBAC}/v1/clusterrolebindings"
BOOTSTRAPPERS = "system:bootstrappers"
NODES = "system:nodes"
CSRS = "system:certificates.k8s.io:certificatesigningrequests"
BINDING = (
    ("bootstrap", BOOTSTRAPPERS, "system:node-bootstrapper"),
    ("approve", BOOTSTRAPPERS, f"{CSRS}:nodeclient"),
    ("renew", NODES, f"{CSRS}:selfnodeclient"),
)
"""Who may ask for certificates, and whose requests are approved without a person."""


def joining(server: str, authority: str) -> Iterator[tuple[str, Json]]:
    """Path and object of each thing to make in a fresh cluster."""
    for name, group, role in BINDING:
        yield (
            BINDINGS,
            {
                "metadata": {"name": f"test-{name}"},
                "subjects": [{"kind": "Group", "name": group, "apiGroup": RBAC}],
                "roleRef": {"kind": "ClusterRole", "name": role, "apiGroup": RBAC},
            },
        )
    public, name = "kube-public", "cluster-info"
    yield (
        f"/api/v1/namespaces/{public}/configmaps",
        {"metadata": {"name": name}, "data": {"kubeconfig": kubeconfig(server, authority)}},
    )
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [name],
        "verbs": ["get"],
    }
    here = f"/apis/{RBAC}/v1/namespaces/{public}"
    yield f"{here}/roles", {"metadata": {"name": name}, "rules": [rule]}
    yield (
        f"{here}/rolebindings",
        {
            "metadata": {"name": name},
            "subjects": [{"kind": "User", "name": "system:anonymous", "apiGroup": RBAC}],
            "roleRef": {"kind": "Role", "name": name, "apiGroup": RBAC},
        },
    )


def bootstrap_token(token: str, ends: datetime) -> Json:
    """The Secret of a bootstrap token that may be used for joining and for signing cluster-info."""
    identifier, _, secret = token.partition(".")
    return {
        "metadata": {"name": f"bootstrap-token-{identifier}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": identifier,
            "token-secret": secret,
            "expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
        },
    }


def pod(name: str, node: str, image: str) -> Json:
    """A pod that runs `image`, which is there already, on `node`."""
    return {
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "containers": [{"name": name, "image": image, "imagePullPolicy": "Never"}],
            "tolerations": [{"operator": "Exists"}],
        },
    }


def kubeconfig(server: str, authority: str, token: str = "") -> str:
    """How to reach a cluster (JSON, which is YAML): as nobody, or with `token`."""
    data = base64.b64encode(authority.encode()).decode()
    whole: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "", "cluster": {"server": server, "certificate-authority-data": data}}
        ],
    }
    if token:
        whole["users"] = [{"name": "admin", "user": {"token": token}}]
        whole["contexts"] = [{"name": "admin", "context": {"cluster": "", "user": "admin"}}]
        whole["current-context"] = "admin"
    return json.dumps(whole, indent=1)
