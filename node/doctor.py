"""`kairos-node doctor`: what is wrong with this machine, and what to do. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from node.checkup import hardware, reach, screen, state
from node.checkup.look import Check, Look, advice
from pairing import errors
from pairing.findings import Finding, Level

CHECKS: Sequence[Check] = (
    hardware.verity,
    state.volumes,
    state.start,
    state.versions,
    state.update,
    reach.clock,
    reach.network,
    reach.names,
    reach.relays,
    reach.port,
    screen.code,
    hardware.tpm,
    hardware.secure_boot,
    hardware.boot_entries,
    hardware.drives,
    hardware.room,
    state.log,
)
ORDER = (Level.WRONG, Level.MISSING, Level.ADVICE, Level.OK)


def examine(look: Look, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Everything that was found: what is wrong comes first. Never raises a known error."""
    found = [finding for check in checks for finding in _checked(check, look)]
    return sorted(found, key=lambda finding: ORDER.index(finding.level))


def summary(found: Sequence[Finding]) -> str:
    """The last line: what somebody reads aloud on the telephone."""
    counts = {level: sum(one.level is level for one in found) for level in ORDER}
    bad, hints = counts[Level.WRONG] + counts[Level.MISSING], counts[Level.ADVICE]
    return f"{bad or 'nothing'} wrong, {hints or 'no'} advice, {counts[Level.OK]} well"


def _checked(check: Check, look: Look) -> Iterator[Finding]:
    try:
        yield from check(look)
    except errors.KnownError as wrong:
        yield advice(check.__name__, f"could not be looked at: {wrong.sentence}", wrong.hint)
    except OSError as wrong:
        yield advice(check.__name__, f"could not be looked at: {wrong.strerror}")
