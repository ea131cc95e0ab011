"""The one door to other programs: a deadline, no shell, a clean environment, bounded output."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pairing import errors

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished program left: exit status, standard output, standard error."""

    status: int
    stdout: bytes
    stderr: bytes

    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 are replaced."""
        return self.stdout.decode("utf-8", "replace")


def run(
    argv: Sequence[str],
    *,
    seconds: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    check: bool = True,
) -> Result:
    """Run `argv` and wait at most `seconds`.

    Secrets go through `stdin`, never through `argv` or `environment`.
    Raises errors.CommandMissing, errors.CommandTimeout, and (with `check`) errors.CommandFailed
    whose detail is the end of what the program printed.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            timeout=seconds,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **(environment or {})},
            check=False,
        )
    except FileNotFoundError:
        raise errors.CommandMissing(element=argv[0]) from None
    except subprocess.TimeoutExpired:
        raise errors.CommandTimeout(f"It was given {seconds:g} seconds.", element=argv[0]) from None
    result = Result(done.returncode, done.stdout[:OUTPUT_LIMIT], done.stderr[:OUTPUT_LIMIT])
    if check and result.status != 0:
        raise errors.CommandFailed(_tail(result), element=argv[0])
    return result


def _tail(result: Result, limit: int = 500) -> str:
    said = (result.stderr or result.stdout).decode("utf-8", "replace").strip()
    return f"Status {result.status}: {said[-limit:]}"
