"""A software TPM 2.0 of one's own (swtpm(8)), with an endorsement certificate if asked; no root."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairing import errors, process
from pairing.process import Result

TOOLS = ("swtpm", "swtpm_setup", "tpm2_createek")


@dataclass(frozen=True, slots=True)
class SoftTpm:
    """A running TPM. `run` is `pairing.process.run` for tools that talk to it."""

    tcti: str
    makers: Path
    """PEM certificates of who signed its endorsement certificate."""

    def run(self, argv: Sequence[str], *, seconds: float, check: bool = True) -> Result:
        """See `node.system.reading.Run`.

        The kernel gives every program a TPM of its own; here what the last one left is flushed.
        """
        environment = {"TPM2TOOLS_TCTI": self.tcti}
        flush = ["tpm2_flushcontext", "--transient-object"]
        process.run(flush, seconds=seconds, environment=environment, check=False)
        return process.run(argv, seconds=seconds, environment=environment, check=check)


@contextlib.contextmanager
def soft_tpm(folder: Path, *, certificate: bool = False) -> Iterator[SoftTpm]:
    """A new TPM whose state lies in `folder`, until the end of the block.

    Raises errors.CommandMissing without swtpm and tpm2-tools.
    """
    state = folder / "tpm"
    state.mkdir(parents=True)
    makers = _set_up(folder, state, certificate=certificate)
    port = two_free_ports()
    server = ["--server", f"port={port},bindaddr=127.0.0.1"]
    control = ["--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1"]
    flags = ["--flags", "not-need-init,startup-clear"]
    pidfile = folder / "pid"
    daemon = ["--daemon", "--pid", f"file={pidfile}"]
    argv = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", *server, *control, *flags]
    process.run([*argv, *daemon], seconds=10)
    try:
        tpm = SoftTpm(f"swtpm:host=127.0.0.1,port={port}", makers)
        _wait(tpm)
        yield tpm
    finally:
        os.kill(int(pidfile.read_text()), signal.SIGKILL)


def two_free_ports() -> int:
    """The first of two neighbours: the tools take it that the control port is the next."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = int(one.getsockname()[1])
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
                return port


def _wait(tpm: SoftTpm) -> None:
    for _ in range(100):
        with contextlib.suppress(errors.CommandFailed):
            tpm.run(["tpm2_getrandom", "--hex", "4"], seconds=10)
            return
    raise errors.CommandFailed("It does not answer.", element="swtpm")


def _set_up(folder: Path, state: Path, *, certificate: bool) -> Path:
    """Make the endorsement key, and a certificate for it by an authority of our own."""
    authority = folder / "authority"
    authority.mkdir()
    local = folder / "localca.conf"
    local.write_text(
        f"statedir = {authority}\n"
        f"signingkey = {authority}/signkey.pem\n"
        f"issuercert = {authority}/issuercert.pem\n"
        f"certserial = {authority}/certserial\n"
    )
    options = folder / "localca.options"
    options.write_text("--platform-manufacturer Test\n--platform-version 1\n--platform-model T\n")
    setup = folder / "setup.conf"
    setup.write_text(
        "create_certs_tool = /usr/bin/swtpm_localca\n"
        f"create_certs_tool_config = {local}\ncreate_certs_tool_options = {options}\n"
    )
    argv = ["swtpm_setup", "--tpm2", "--tpmstate", str(state), "--config", str(setup)]
    wanted = ["--create-ek-cert", "--lock-nvram"] if certificate else []
    process.run([*argv, *wanted], seconds=60, environment={"HOME": str(folder)})
    return authority / "issuercert.pem"
