"""A stock Kairos machine in recovery mode, as tests/interop/recovery plays it (Go)."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path

from pairing.edgevpn import nettoken
from pairing.edgevpn.recovery import RecoveryCode
from pairing.testing import goprogram
from pairing.testing.goprogram import GoProgram
from pairing.testing.netns import Namespace
from pairing.testing.stock import Peer, running

SOURCE = Path(__file__).resolve().parents[2] / "tests/interop/recovery"
PROGRAM = GoProgram("recovery", "interop", SOURCE)


def start(inside: Namespace, code: RecoveryCode) -> AbstractContextManager[Peer]:
    """The machine that shows this code, until the context ends. It says `tried` at a password."""
    request = {
        "token": nettoken.to_full_text(code.token),
        "service": code.service,
        "password": code.password,
    }
    return running(inside, (str(PROGRAM.build()),), request)


if __name__ == "__main__":
    sys.exit(goprogram.build_all((PROGRAM,), "no stock machine in recovery for the tests"))
