"""A config that may be shown: every secret replaced by `(secret)`.

What is secret is decided by the key's name wherever it stands, by the places whose values are
free text (environment, arguments, commands, files), and by what text gives itself away: private
keys and passwords inside URLs. In doubt it is a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pairing.config.document import Document, Node, rebuild
from pairing.config.problem import Path

HIDDEN = "(secret)"

_SECRET_NAME = re.compile(
    r"pass(wd|word|phrase|code)|secret|token|private|credential|api_?key|access_?key|psk$|"
    r"(^|_)(auth|key|pin|pw|pwd)$|bearer|cookie|datastore|dsn",
    re.IGNORECASE,
)
_PUBLIC_NAMES = frozenset({"lock_passwd", "ssh_authorized_keys", "authorized_keys", "public_key"})
_ENVIRONMENTS = frozenset({"env", "environment"})
_FREE_TEXT = frozenset({"content", "runcmd", "commands", "if", "config_url"})
_PUBLIC_ENVIRONMENT = frozenset(
    {"K3S_URL", "K3S_NODE_NAME", "K3S_KUBECONFIG_MODE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
    | {
        "CONTAINERD_HTTP_PROXY",
        "CONTAINERD_HTTPS_PROXY",
        "CONTAINERD_NO_PROXY",
        "PATH",
        "LANG",
        "TZ",
    }
)
_PUBLIC_ARGUMENTS = frozenset(
    {
        "disable",
        "server",
        "node-label",
        "node-taint",
        "node-name",
        "node-ip",
        "cluster-init",
        "data-dir",
    }
    | {"flannel-backend", "flannel-iface", "cluster-cidr", "service-cidr", "cluster-dns", "tls-san"}
    | {"write-kubeconfig-mode", "snapshotter", "embedded-registry", "disable-agent", "debug", "v"}
    | {"cluster-domain", "node-external-ip", "secrets-encryption", "selinux", "with-node-id"}
)
_IN_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/\s@]*(?:@[^/\s@]*)*@")
_ASSIGNED = re.compile(
    r"(?P<lead>[\w.-]*(?:pass(?:wd|word|phrase)|token|secret)[\w.-]*=)\S+", re.IGNORECASE
)
_QUERY = re.compile(r"(?P<lead>[?&;#][^=\s&;#]+=)[^&;#\s]+")


def redact(document: Document) -> Document:
    """The same document, same keys and places, with `(secret)` for every secret value."""

    def change(path: Path, node: Node) -> Node | None:
        if not path:
            return None
        if _is_secret(path):
            return _hidden(node)
        if path[-1] == "args":
            if isinstance(node.content, tuple):
                return Node(tuple(_arguments(node.content)), node.mark)
            return _hidden(node)
        if isinstance(node.content, str):
            return Node(clean(node.content), node.mark)
        return None

    return Document(rebuild(document.root, change))


def _is_secret(path: Path) -> bool:
    name = str(path[-1])
    word = name.replace("-", "_")
    if name in _PUBLIC_NAMES:
        return False
    if str(path[0]).startswith("x-") or name in _FREE_TEXT or _SECRET_NAME.search(word):
        return True
    if len(path) > 1 and path[-2] in _ENVIRONMENTS:
        return name not in _PUBLIC_ENVIRONMENT
    return False


def _hidden(node: Node) -> Node:
    """`(secret)`, except where nothing is to hide: empty values and switches."""
    empty = node.content is None or isinstance(node.content, bool)
    return node if empty else Node(HIDDEN, node.mark)


def clean(text: str) -> str:
    """Text without private keys, `password=...`, and user, password and query inside a URL."""
    if "PRIVATE KEY" in text:
        return HIDDEN
    text = _ASSIGNED.sub(rf"\g<lead>{HIDDEN}", text)
    without = _IN_URL.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _QUERY.sub(rf"\g<lead>{HIDDEN}", without) if "://" in text else without


def _arguments(items: tuple[Node, ...]) -> Iterator[Node]:
    """Program arguments: the values of options that are not known to be public are hidden."""
    hide_next = False
    for item in items:
        text = item.content
        if not isinstance(text, str):
            yield Node(HIDDEN, item.mark) if hide_next or text is not None else item
            hide_next = False
            continue
        if not text.startswith("-"):
            bare = hide_next or not _SUBCOMMAND.fullmatch(text)
            yield Node(HIDDEN if bare else text, item.mark)
            hide_next = False
            continue
        shown, hide_next = _option(text)
        yield Node(shown, item.mark)


_SUBCOMMAND = re.compile(r"server|agent")
_OPTION = re.compile(
    r"(?P<dashes>--?)(?P<name>[A-Za-z][A-Za-z0-9-]*)(?P<between>[=\s]*)(?P<value>.*)", re.DOTALL
)


def _option(text: str) -> tuple[str, bool]:
    """One `--name`, `--name=value` or `--name value`; and whether the next argument is secret."""
    found = _OPTION.fullmatch(text)
    if found is None:
        return HIDDEN, True
    public = found["name"] in _PUBLIC_ARGUMENTS
    if found["dashes"] == "-" and not public:
        return text[:2] if len(text) == 2 else HIDDEN, True
    if not found["between"]:
        return text if not found["value"] else HIDDEN, not public
    value = clean(found["value"]) if public else HIDDEN
    return f"{found['dashes']}{found['name']}{found['between']}{value}", False
