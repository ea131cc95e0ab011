"""The questions that a k3s server answers before anything is started here. Blocking.

`/cacerts` is for anybody; the token is shown only to a server whose authority it names. A token
without a hash is shown to whoever answers, as k3s does: the log says so.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from node.providers.k3s.token import Token
from node.providers.kubernetes.api import CLOCK_WRONG, Connect, tcp, trusting, trusting_nobody_yet
from pairing import errors

SECONDS = 10.0
BODY_LIMIT = 4 * 1024 * 1024
AUTHORITY = "/cacerts"
SETTINGS = "/v1-k3s/config"
"""For agents only, in every version: whoever may read it may join."""


@dataclass(frozen=True, slots=True)
class Supervisor:
    """A k3s server. `usual` is TLS that trusts what the system trusts."""

    host: str
    port: int
    connect: Connect = tcp
    usual: Callable[[], ssl.SSLContext] = field(default=ssl.create_default_context)

    @classmethod
    def at(cls, url: str, connect: Connect = tcp) -> Supervisor:
        """The server of `K3S_URL`. Raises errors.JoinSettingsIncomplete."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        if parts.scheme != "https" or not host:
            raise errors.JoinSettingsIncomplete("The server's address is https://HOST:6443.")
        return cls(host, port or 443, connect)

    def require_joinable(self, token: Token, log: Callable[[str], None]) -> None:
        """Raises the class below errors.JoinFailed that says why this token cannot join here."""
        status, _ = self._ask(SETTINGS, self._trust(token, log), token.authorization)
        if status == 401 and token.expires:
            detail = "A bootstrap token: the server does not tell an expired one from a wrong one."
            raise errors.JoinTokenRefused(detail, element=self.host)
        if status == 401:
            raise errors.JoinTokenRefused(element=self.host)
        if status == 403:
            raise errors.JoinForbidden("The token is not for agents.", element=self.host)
        if status >= 500 or status == 429:
            raise errors.JoinUnreachable(f"It is not ready (status {status}).", element=self.host)
        if status != 200:
            raise errors.JoinAnswerUnknown(f"Status {status}.", element=self.host)

    def _trust(self, token: Token, log: Callable[[str], None]) -> ssl.SSLContext:
        """TLS to show the token over: to the authority that it names, checked."""
        usual = self.usual()
        try:
            self._ask(AUTHORITY, usual)
        except ssl.SSLCertVerificationError:
            pass
        else:
            return usual
        status, pem = self._ask(AUTHORITY, trusting_nobody_yet())
        if status != 200 or b"BEGIN CERTIFICATE" not in pem:
            raise errors.JoinAnswerUnknown("It shows no authority.", element=self.host)
        if not token.authority:
            log("the token names no authority: it is shown to whoever answers at this address")
        elif not _names(token, pem):
            raise errors.JoinCaMismatch(element=self.host)
        trust = trusting(pem.decode("ascii", "replace"))
        try:
            self._ask(AUTHORITY, trust)
        except ssl.SSLCertVerificationError as wrong:
            off = wrong.verify_code in CLOCK_WRONG
            error = errors.JoinClockWrong if off else errors.JoinCaMismatch
            raise error(f"{str(wrong.verify_message).capitalize()}.", element=self.host) from None
        return trust

    def _ask(self, path: str, trust: ssl.SSLContext, authorization: str = "") -> tuple[int, bytes]:
        """Status and body. Raises errors.JoinUnreachable, ssl.SSLCertVerificationError."""
        line = http.client.HTTPConnection(self.host, self.port)
        headers = {"Authorization": authorization} if authorization else {}
        try:
            line.sock = self._secured(trust)
            line.request("GET", path, headers=headers)
            response = line.getresponse()
            return response.status, response.read(BODY_LIMIT)
        except ssl.SSLCertVerificationError:
            raise
        except http.client.HTTPException as wrong:
            raise errors.JoinAnswerUnknown(type(wrong).__name__, element=self.host) from None
        except OSError as wrong:
            said = f"{wrong.strerror or str(wrong) or type(wrong).__name__}."
            raise errors.JoinUnreachable(said, element=f"{self.host}:{self.port}") from None
        finally:
            line.close()

    def _secured(self, trust: ssl.SSLContext) -> socket.socket:
        plain = self.connect(self.host, self.port, SECONDS)
        try:
            plain.settimeout(SECONDS)
            return trust.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def _names(token: Token, pem: bytes) -> bool:
    try:
        return token.names(pem)
    except ValueError:
        return False
