"""Versions and their trials, volumes, the start's health, the last update, what the log holds."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator

from node.checkup.look import Look, advice, wrong
from node.health import health
from node.lookaround import machine_state
from node.plan.boot import MAPPED
from node.plan.slots import Entry, entries, last_good
from node.started import read_report
from node.system.bootpartition import boot_files
from node.system.reading import names
from node.system.volumes import header_of, partitions
from pairing import errors
from pairing.findings import Finding, ok

LOG_SECONDS = 60.0
LOG_LINES = 500
LOUD = 20
"""Errors of one start that are more than usual."""
ENTRIES, MARK = "EFI/Linux", "kairos/reset.json"


def versions(look: Look) -> Iterator[Finding]:
    """What lies on the disk, and what of it starts."""
    folder = boot_files(look.root, look.run)
    if folder is None:
        return
    found = entries(names(folder / ENTRIES))
    for entry in found:
        yield from _entry(entry)
    if not last_good(found) and not any(entry.left for entry in found):
        hint = "Register a photo of this screen to install it again, or upgrade it from here."
        yield wrong("versions", "none that starts is on the disk", hint)
    if (folder / MARK).exists() and found:
        hint = "It never came to be; ask for it again if it is still wanted."
        yield advice("reset", "one was cut off before it changed anything", hint)
    elif (folder / MARK).exists():
        hint = "Restart the machine: its recovery system goes on with it."
        yield wrong("reset", "a reset has begun and is not finished", hint)


def _entry(entry: Entry) -> Iterator[Finding]:
    if entry.blessed:
        yield ok("versions", f"{entry.version} is good")
    elif entry.exhausted:
        hint = "The one before it runs again. Upgrade to a newer one."
        yield advice("versions", f"{entry.version} was not good on trial", hint)
    else:
        yield advice("versions", f"{entry.version} is on trial, {entry.left} tries left")


def volumes(look: Look) -> Iterator[Finding]:
    """Whether they are open; in recovery, whether they could be opened."""
    if look.installed:
        yield from _started(look)
        return
    if look.mode != "recovery":
        return
    for part in partitions(look.root, look.run):
        if part.label not in MAPPED:
            continue
        if (look.root / "dev/mapper" / MAPPED[part.label]).exists():
            yield ok("volumes", f"{part.label} is open")
        elif part.filesystem == "crypto_LUKS" and header_of(part.device, look.run) is not None:
            yield ok("volumes", f"{part.label} is closed; its header is whole: kairos-node unlock")
        elif part.filesystem == "ext4":
            yield ok("volumes", f"{part.label} is not encrypted")
        else:
            hint = "Nothing can be read from it any more: install the machine again."
            yield advice("volumes", f"{part.label} holds nothing, or is damaged", hint)


def _started(look: Look) -> Iterator[Finding]:
    report = read_report(look.root)
    if report is None:
        hint = "See: journalctl -b -u kairos-boot"
        yield wrong("volumes", "the start has not come to its end", hint)
    elif report.state == "open":
        yield ok("volumes", f"open, opened by {report.means or 'nobody'}")
    else:
        error = errors.from_slug(report.code, report.text)
        yield wrong("volumes", f"{report.state}: {error.code} {error.sentence}", error.hint)


def start(look: Look) -> Iterator[Finding]:
    """The health that also decides about a version on trial."""
    if not look.installed:
        return
    found = health(look.root, look.run)
    for reason in found.reasons:
        yield wrong("health", reason, "See: kairos-node state; journalctl -b -p err")
    if found.good:
        yield ok("health", "this start is good")


def update(look: Look) -> Iterator[Finding]:
    """The last one, and the last that failed its trial."""
    if look.mode == "live":
        return
    found = machine_state(look.root, look.run)
    last, failed = found.upgrade, found.failed
    if last is not None:
        shown = (advice if last.reason else ok)("update", last.text)
        yield shown
    if failed is not None:
        reasons = "; ".join(failed.reasons) or "no reason is known"
        yield advice("update", f"{failed.version} was given up: {reasons}")


def log(look: Look) -> Iterator[Finding]:
    """How many errors this start has logged, and whose: not what they say, it may be private."""
    argv = ("journalctl", "--boot", "--priority=err", "--output=json", "--no-pager")
    said = look.run((*argv, f"--lines={LOG_LINES}"), seconds=LOG_SECONDS).text()
    found: Counter[str] = Counter()
    for line in said.splitlines():
        with contextlib.suppress(ValueError, AttributeError):
            body = json.loads(line)
            found[str(body.get("SYSLOG_IDENTIFIER") or body.get("_COMM") or "?")[:32]] += 1
    total = sum(found.values())
    whose = ", ".join(f"{name} {count}" for name, count in found.most_common(3))
    if total >= LOUD:
        yield advice("log", f"{total} errors ({whose})", "See: journalctl -b -p err")
    else:
        yield ok("log", f"{total} errors" + (f" ({whose})" if whose else ""))
