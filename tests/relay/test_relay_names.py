"""How relays and proxies are written down, and who may need which."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from pairing import errors, keys
from pairing.testing import proxy as proxies
from pairing.testing.relays import LocalRelay, echo, said_back, waiting_node
from pairing.transport import http_proxy, relay
from pairing.transport.base import Address
from pairing.transport.relay import RelayAddress

PIN = "ab" * 32
NODE, LABEL = keys.SigningKey(b"\x07" * 32), b"\x01" * 32


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("relay.example", RelayAddress("relay.example", 443)),
        (" Relay.Example:8443\n", RelayAddress("relay.example", 8443)),
        ("192.0.2.1", RelayAddress("192.0.2.1", 443)),
        ("[2001:DB8::1]:444", RelayAddress("2001:db8::1", 444)),
        ("[2001:db8::1]", RelayAddress("2001:db8::1", 443)),
        (f"relay.example#sha256={PIN}", RelayAddress("relay.example", 443, bytes.fromhex(PIN))),
        ("tcp://127.0.0.1:7000", RelayAddress("127.0.0.1", 7000, plain=True)),
        ("tcp://[::1]:7000", RelayAddress("::1", 7000, plain=True)),
    ],
)
def test_addresses_are_read_and_written(text: str, address: RelayAddress) -> None:
    assert RelayAddress.parse(text) == address
    assert RelayAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":443",
        "relay.example:",
        "relay.example:0",
        "relay.example:65536",
        "relay.example:٣",
        "relay example",
        "https://relay.example",
        "user@relay.example",
        "2001:db8::1",
        "[2001:db8::1",
        "[]:443",
        "[relay.example]:443",
        "[::1]443",
        "relay.example#",
        "relay.example#sha256=ab",
        f"relay.example#sha1={PIN}",
        f"relay.example#sha256={PIN}00",
        "tcp://relay.example:7000",
        "tcp://192.0.2.1:7000",
    ],
)
def test_wrong_addresses_have_a_name(text: str) -> None:
    with pytest.raises(errors.RelayAddressInvalid):
        RelayAddress.parse(text)


@given(st.text())
def test_no_text_is_read_in_two_ways(text: str) -> None:
    try:
        address = RelayAddress.parse(text)
    except errors.RelayAddressInvalid:
        return
    assert RelayAddress.parse(str(address)) == address


def test_a_relay_id_names_host_and_port_only() -> None:
    expected = hashlib.sha256(b"EP1-relay-id\0relay.example:443").digest()[:4]
    assert relay.relay_id("relay.example") == expected
    assert relay.relay_id(f"RELAY.example:443#sha256={PIN}") == expected
    assert relay.relay_id("relay.example:8443") != expected
    multiaddr = "/dns4/relay.example/tcp/443/wss/p2p/12D3KooW"
    known = ["other.example", multiaddr, "relay.example"]
    assert relay.find_relay(expected, known) == "relay.example"
    assert relay.find_relay(relay.relay_id(multiaddr), known) == multiaddr
    assert relay.find_relay(b"\0" * 4, known) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy.example:3128", http_proxy.HttpProxy(Address("proxy.example", 3128))),
        ("http://proxy.example/", http_proxy.HttpProxy(Address("proxy.example", 80))),
        ("proxy.example:3128", http_proxy.HttpProxy(Address("proxy.example", 3128))),
        ("http://[2001:db8::1]:8080", http_proxy.HttpProxy(Address("2001:db8::1", 8080))),
        ("http://u:p%40ss@p.example", http_proxy.HttpProxy(Address("p.example", 80), "u:p@ss")),
    ],
)
def test_proxy_urls_are_read_as_curl_does(url: str, expected: http_proxy.HttpProxy) -> None:
    assert http_proxy.parse(url) == expected


@pytest.mark.parametrize("url", ["https://p.example", "socks5://p", "http://", "http://p:x", "://"])
def test_other_proxy_urls_are_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(errors.ProxyRefused) as refused:
        http_proxy.parse(url.replace("//", "//user:hunter2@"))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("exempt", "direct"),
    [
        ("", False),
        ("*", True),
        ("relay.example", True),
        (".example", True),
        ("*.example", True),
        ("example", True),
        ("lay.example", False),
        ("other.example, relay.example", True),
        ("relay.example:8443", True),
        ("relay.example:443", False),
        ("192.0.2.0/24", False),
    ],
)
def test_no_proxy_exempts_names(exempt: str, direct: bool) -> None:
    environment = {"HTTPS_PROXY": "http://p.example:3128", "no_proxy": exempt}
    through = http_proxy.for_host(Address("relay.example", 8443), environment)
    assert (through is None) == direct


@pytest.mark.parametrize(
    ("exempt", "direct"),
    [("192.0.2.0/24", True), ("192.0.2.7", True), ("192.0.3.0/24", False), ("2001::/16", False)],
)
def test_no_proxy_exempts_networks(exempt: str, direct: bool) -> None:
    environment = {"https_proxy": "http://p.example:3128", "NO_PROXY": exempt}
    through = http_proxy.for_host(Address("192.0.2.7", 443), environment)
    assert (through is None) == direct


@pytest.mark.parametrize("credentials", ["", "me:hunter2"])
async def test_both_ends_go_through_an_http_proxy(tmp_path: Path, credentials: str) -> None:
    async with (
        LocalRelay.running(tmp_path) as local,
        proxies.HttpProxy.running(credentials) as proxy,
    ):
        at = f"{credentials}@" if credentials else ""
        url = f"http://{at}127.0.0.1:{proxy.port}"
        async with (
            waiting_node(local, NODE, LABEL, echo, proxy=url),
            await relay.call(local.address, NODE.public, LABEL, proxy=url) as stream,
        ):
            assert await said_back(stream, b"through") == b"through"
        assert set(proxy.tunnels) == {f"127.0.0.1:{local.port}"}
        assert len(proxy.tunnels) >= 2


async def test_the_environment_names_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with LocalRelay.running(tmp_path) as local, proxies.HttpProxy.running() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("https_proxy", raising=False)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.delenv("no_proxy", raising=False)
        for expected in (1, 1):
            with pytest.raises(errors.RelayNobody):
                await relay.call(local.address, NODE.public, LABEL)
            assert len(proxy.tunnels) == expected
            monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")


async def test_a_proxy_that_refuses_has_a_name(tmp_path: Path) -> None:
    async with LocalRelay.running(tmp_path) as local, proxies.HttpProxy.running("a:b") as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        with pytest.raises(errors.ProxyRefused, match=r"407.*password"):
            await relay.call(local.address, NODE.public, LABEL, proxy=url)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"x" * 9999])
async def test_what_is_no_proxy_has_a_name(tmp_path: Path, answer: bytes) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.send_all(answer)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        with pytest.raises((errors.ProxyRefused, errors.RelayUnreachable)):
            await relay.call(RelayAddress("127.0.0.1", 1), NODE.public, LABEL, proxy=url)
        nursery.cancel_scope.cancel()
