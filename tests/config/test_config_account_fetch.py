"""Account keys fetched from a real TLS server."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import io
import ssl
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from pairing import errors
from pairing.config.accounts import (
    Answer,
    Opener,
    fetch_account_keys,
    https_opener,
)

H = "#cloud-config\n"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples/configs").glob("*.yaml"))
CANARY = "zq7Canary"


KEYS = tuple(
    ed25519.Ed25519PrivateKey.generate()
    .public_key()
    .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    .decode()
    for _ in range(2)
)


class Site(http.server.BaseHTTPRequestHandler):
    """Answers as GitHub does, and in the ways that GitHub never should."""

    stop = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/bob.keys":
            self.answer(200, f"{KEYS[0]}\n{KEYS[1]}\n".encode())
        elif self.path == "/moved.keys":
            self.answer(302, b"", ("Location", "/bob.keys"))
        elif self.path == "/huge.keys":
            self.answer(200, f"{KEYS[0]}\n".encode() * 10_000)
        elif self.path == "/silent.keys":
            self.stop.wait(20)
        elif self.path == "/drip.keys":
            self.drip()
        else:
            self.answer(404, b"Not Found")

    def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for header in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(*header)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.stop.wait(0.05):
                self.wfile.write(b"#")
                self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


def certificate() -> tuple[bytes, bytes]:
    """A self-signed certificate for localhost, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return made.public_bytes(serialization.Encoding.PEM), secret


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a TLS server, and the certificate to trust."""
    folder = tmp_path_factory.mktemp("site")
    public_part, secret = certificate()
    (folder / "cert.pem").write_bytes(public_part)
    (folder / "both.pem").write_bytes(public_part + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    patch = pytest.MonkeyPatch()
    patch.setenv("no_proxy", "localhost")
    yield f"https://localhost:{server.server_address[1]}", folder / "cert.pem"
    Site.stop.set()
    patch.undo()
    server.shutdown()
    server.server_close()


def trusting(path: Path) -> Opener:
    return https_opener(ssl.create_default_context(cafile=str(path)))


def test_keys_are_fetched(site: tuple[str, Path]) -> None:
    base, path = site
    assert fetch_account_keys("bob", base=base, opener=trusting(path)) == KEYS


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nobody", "There is no such account."),
        ("moved", "HTTP status 302."),
        ("huge", "The answer is too long."),
    ],
)
def test_a_bad_answer_is_refused(site: tuple[str, Path], name: str, says: str) -> None:
    base, path = site
    with pytest.raises(errors.AccountKeysUnavailable, match=says):
        fetch_account_keys(name, base=base, opener=trusting(path))


@pytest.mark.parametrize("name", ["silent", "drip"])
def test_a_slow_answer_ends_at_the_deadline(site: tuple[str, Path], name: str) -> None:
    base, path = site
    with pytest.raises(errors.AccountKeysUnavailable):
        fetch_account_keys(name, base=base, seconds=0.5, opener=trusting(path))


def test_a_strange_certificate_is_refused(site: tuple[str, Path], tmp_path: Path) -> None:
    """The control is `test_keys_are_fetched`: the same server, trusted."""
    other = tmp_path / "other.pem"
    other.write_bytes(certificate()[0])
    with pytest.raises(errors.AccountKeysUnavailable, match="SSLCertVerificationError"):
        fetch_account_keys("bob", base=site[0], opener=trusting(other))
    with pytest.raises(errors.AccountKeysUnavailable):
        fetch_account_keys("bob", base=site[0])


def test_only_https() -> None:
    def never(url: str, seconds: float) -> AbstractContextManager[Answer]:
        raise AssertionError("nothing may be asked")

    with pytest.raises(errors.AccountKeysUnavailable, match="https"):
        fetch_account_keys("bob", base="http://localhost", opener=never)


def test_the_name_is_all_that_is_asked() -> None:
    asked: list[str] = []

    def opener(url: str, seconds: float) -> AbstractContextManager[Answer]:
        asked.append(url)
        return io.BytesIO(KEYS[0].encode())

    fetch_account_keys("bob", opener=opener)
    assert asked == ["https://github.com/bob.keys"]
