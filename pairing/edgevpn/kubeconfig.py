"""A kubeconfig that a stranger may have written: only what cannot harm its reader is kept. Pure.

A kubeconfig can name programs that kubectl runs (`exec`, `auth-provider`), files that it reads and
proxies. k3s and k0s write none of these; a network's ledger can be written by whoever has its
token. So the few fields that they do write are taken over one by one, anything else is refused.
Source: Kubernetes' client-go, tools/clientcmd/api/v1.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from pairing import errors
from pairing.config.document import Document, from_plain
from pairing.config.dump import dump
from pairing.config.load import HEADERS, load
from pairing.config.problem import Mark

_ALLOWED: Mapping[str, Any] = {
    "apiVersion": str,
    "kind": str,
    "preferences": {},
    "current-context": str,
    "clusters": [{"name": str, "cluster": {"server": str, "certificate-authority-data": str}}],
    "contexts": [{"name": str, "context": {"cluster": str, "user": str, "namespace": str}}],
    "users": [
        {
            "name": str,
            "user": {
                "client-certificate-data": str,
                "client-key-data": str,
                "token": str,
                "username": str,
                "password": str,
            },
        }
    ],
}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_MARK = Mark("kubeconfig", 1, 1)


def cleaned(data: bytes, address: str) -> bytes:
    """`data` as a kubeconfig whose server is at `address` (a host's name or an IP address).

    An empty `address` keeps a server that is none of this machine's own. Raises
    errors.MeshValueBroken, and errors.MeshHoldsNone where only an address is missing.
    """
    said = _parsed(data)
    wrong = next(_strange(said, _ALLOWED, ""), None)
    if wrong is not None:
        raise errors.MeshValueBroken(f"(the kubeconfig has {wrong})")
    if said.get("kind") != "Config" or not said.get("clusters") or not said.get("users"):
        raise errors.MeshValueBroken("(it is no kubeconfig)")
    for cluster in said["clusters"]:
        place = cluster.get("cluster", {})
        place["server"] = _server(place.get("server", ""), address)
    return dump(Document(from_plain(said, _MARK))).removeprefix(f"{HEADERS[0]}\n".encode())


def _parsed(data: bytes) -> dict[str, Any]:
    """YAML without its traps. What is wrong is not said: the text holds keys."""
    try:
        return load(f"{HEADERS[0]}\n".encode() + data, "kubeconfig").value
    except errors.ConfigError:
        raise errors.MeshValueBroken("(the kubeconfig is not plain YAML)") from None


def _strange(value: object, allowed: Any, path: str) -> Iterator[str]:
    """What is not in `allowed`, by its place. Names no values."""
    if isinstance(allowed, Mapping):
        if not isinstance(value, dict):
            yield f"no map at {path or 'its top'}"
            return
        for key, inner in value.items():
            if key not in allowed:
                yield f"the key {key[:40]!r}{f' below {path}' if path else ''}"
            else:
                yield from _strange(inner, allowed[key], f"{path}.{key}" if path else key)
    elif isinstance(allowed, list):
        if not isinstance(value, list) or not value:
            yield f"no list at {path}"
            return
        for inner in value:
            yield from _strange(inner, allowed[0], path)
    elif not isinstance(value, allowed):
        yield f"no text at {path}"


def _server(server: str, address: str) -> str:
    try:
        url = urlsplit(server)
        port, host = url.port or 443, url.hostname or ""
    except ValueError:
        raise errors.MeshValueBroken("(the kubeconfig's server)") from None
    plain = url.scheme == "https" and not (url.username or url.query or url.fragment)
    if not plain or url.path.strip("/") or not host:
        raise errors.MeshValueBroken("(the kubeconfig's server)")
    if not address and _here(host):
        raise errors.MeshHoldsNone("(the control plane's address; --server names one)")
    return f"https://{_checked_host(address or host)}:{port}"


def _here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked_host(text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        if _HOST.fullmatch(text):
            return text
        raise errors.MeshValueBroken("(the control plane's address)") from None
    return f"[{found}]" if found.version == 6 else str(found)
