"""Out of a network that lets nothing but an HTTP proxy out: CONNECT (RFC 9110, 9.3.6)."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import trio

from pairing import errors
from pairing.transport.base import Address

_ANSWER_LIMIT = 8 * 1024
"""Bytes of a proxy's answer, headers and all."""


@dataclass(frozen=True, slots=True)
class HttpProxy:
    """A proxy's address and, if it asks for them, name and password (Basic, RFC 7617)."""

    address: Address
    credentials: str = field(default="", repr=False)


def parse(url: str) -> HttpProxy:
    """Read `http://[user:password@]host[:port]`; the scheme may be left out, as curl has it.

    Raises errors.ProxyRefused without repeating the URL, which may hold a password.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port, parts = None, 0, None
    if not host or parts is None or parts.scheme != "http":
        raise errors.ProxyRefused("Its URL is not of the form http://host:port.")
    words = [unquote(word) for word in (parts.username, parts.password) if word is not None]
    return HttpProxy(Address(host, port), ":".join(words))


def for_host(target: Address, environment: Mapping[str, str]) -> HttpProxy | None:
    """The proxy that HTTPS_PROXY and NO_PROXY name for this target, lower case first.

    Raises errors.ProxyRefused for a URL that cannot be used.
    """
    url = environment.get("https_proxy") or environment.get("HTTPS_PROXY", "")
    exempt = environment.get("no_proxy") or environment.get("NO_PROXY", "")
    if not url or any(_matches(target, entry.strip()) for entry in exempt.split(",")):
        return None
    return parse(url)


def _matches(target: Address, entry: str) -> bool:
    """Whether an entry of NO_PROXY means this target: `*`, a name or its domain, an IP, a CIDR."""
    host = target.host.lower()
    entry = entry.lower().removesuffix(f":{target.port}").strip("[]")
    if not entry:
        return False
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        name = entry.lstrip("*").lstrip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))


async def connect(stream: trio.abc.Stream, proxy: HttpProxy, target: Address) -> None:
    """Ask the proxy for a tunnel. Raises errors.ProxyRefused or what the stream raises."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.credentials:
        basic = base64.b64encode(proxy.credentials.encode()).decode("ascii")
        lines.append(f"Proxy-Authorization: Basic {basic}")
    await stream.send_all("\r\n".join([*lines, "", ""]).encode("ascii"))
    status = await _status(stream)
    if not 200 <= status < 300:
        asks = " It asks for a name and a password." if status == 407 else ""
        raise errors.ProxyRefused(f"It answered {status}.{asks}", element=str(proxy.address))


async def _status(stream: trio.abc.Stream) -> int:
    """The answer's status code. Reads by single bytes at its end: what follows is the tunnel's."""
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        missing = 1 if answer[-1:] in b"\r\n" and answer else 4
        data = await stream.receive_some(missing)
        answer += data
        if not data or len(answer) > _ANSWER_LIMIT:
            raise errors.ProxyRefused("Its answer is not that of an HTTP proxy.")
    words = answer.split(b" ", 2)
    if not words[0].startswith(b"HTTP/1.") or len(words) < 2 or not words[1][:3].isdigit():
        raise errors.ProxyRefused("Its answer is not that of an HTTP proxy.")
    return int(words[1][:3])
