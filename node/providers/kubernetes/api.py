"""One request to an API server: HTTP/1.1 over TLS, JSON both ways, a deadline each.

Blocking, from the standard library: the caller runs it in a thread. A new connection for each
request: joining makes a dozen, seconds apart, and each may meet another server behind the address.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairing import errors

SECONDS = 10.0
BODY_LIMIT = 4 * 1024 * 1024
CLOCK_WRONG = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED (openssl/x509_vfy.h)."""

Json = Mapping[str, Any]
Connect = Callable[[str, int, float], socket.socket]
"""A connected TCP socket to host and port, within these seconds. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an answer. `reason` is what the server says about a refusal."""

    status: int
    body: Json = field(repr=False)

    @property
    def reason(self) -> str:
        """The message of a `Status` object (meta/v1), shortened; it holds no secret."""
        return str(self.body.get("message", ""))[:300]


def tcp(host: str, port: int, seconds: float) -> socket.socket:
    """The usual `Connect`."""
    return socket.create_connection((host, port), seconds)


@dataclass(frozen=True, slots=True)
class Api:
    """An API server, asked by `token`, by the certificate in `trust`, or as nobody."""

    host: str
    port: int
    trust: ssl.SSLContext
    token: str = field(default="", repr=False)
    connect: Connect = tcp

    def ask(self, method: str, path: str, body: Json | None = None, kind: str = "json") -> Answer:
        """Send one request. `kind` is the last part of its content type.

        Raises errors.JoinUnreachable, errors.JoinCaMismatch, errors.JoinClockWrong and
        errors.JoinAnswerUnknown; a refusal by the server is an answer.
        """
        headers = {"Accept": "application/json", "User-Agent": "kairos-register"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = f"application/{kind}"
        line = http.client.HTTPConnection(self.host, self.port)
        try:
            line.sock = self._secured()
            line.request(method, path, None if body is None else json.dumps(body), headers)
            response = line.getresponse()
            return Answer(response.status, _parsed(response.read(BODY_LIMIT + 1)))
        except http.client.HTTPException as wrong:
            raise errors.JoinAnswerUnknown(type(wrong).__name__, element=self.host) from None
        except (OSError, ssl.SSLError) as wrong:
            raise self._unreachable(wrong) from None
        finally:
            line.close()

    def _secured(self) -> ssl.SSLSocket:
        plain = self.connect(self.host, self.port, SECONDS)
        try:
            plain.settimeout(SECONDS)
            return self.trust.wrap_socket(plain, server_hostname=self.host)
        except ssl.SSLCertVerificationError as wrong:
            plain.close()
            off = wrong.verify_code in CLOCK_WRONG
            error = errors.JoinClockWrong if off else errors.JoinCaMismatch
            raise error(f"{wrong.verify_message.capitalize()}.", element=self.host) from None
        except BaseException:
            plain.close()
            raise

    def _unreachable(self, wrong: OSError) -> errors.JoinFailed:
        if isinstance(wrong, ssl.SSLError):
            said = f"It does not speak TLS here ({wrong.reason or 'closed'})."
        else:
            said = f"{wrong.strerror or str(wrong) or type(wrong).__name__}."
        return errors.JoinUnreachable(said, element=f"{self.host}:{self.port}")


def _parsed(data: bytes) -> Json:
    try:
        body = json.loads(data) if len(data) <= BODY_LIMIT else None
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise errors.JoinAnswerUnknown
    return body


def trusting(authority: str) -> ssl.SSLContext:
    """TLS that trusts this authority (PEM) and no other. Raises errors.JoinCaMismatch."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        trust.load_verify_locations(cadata=authority)
    except ssl.SSLError:
        raise errors.JoinCaMismatch("kubernetes.ca is not a certificate.") from None
    return trust


def trusting_nobody_yet() -> ssl.SSLContext:
    """TLS without a check: only to read what is then checked by itself, never with a token."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    return trust


def with_certificate(authority: str, pair: Path) -> ssl.SSLContext:
    """TLS that shows the certificate and key of the PEM file `pair`."""
    trust = trusting(authority)
    trust.load_cert_chain(pair)
    return trust
