"""`kairos-fleet inbox`: watch a folder into which photos are dropped."""

from __future__ import annotations

import math
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pairing import errors

if TYPE_CHECKING:
    import trio
    from trio import TaskStatus

    from cli.inbox.arrivals import Arrivals
    from cli.inbox.intake import Intake, Taken
    from cli.inbox.report import Voice

POLL_SECONDS = 1.0
ONCE_SECONDS = 60.0
"""How long `--once` waits for files that are still being written."""
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

HELP = """Watch a folder into which a mail program or a messenger drops photos.

\b
Examples:
  kairos-fleet inbox photos/            until Ctrl-C; each is said at once
  kairos-fleet inbox photos/ --for 8h --lang es
  kairos-fleet inbox photos/ --once     what is there now, and a report
  kairos-fleet inbox photos/ --output paths | xargs -d '\\n' -P 8 -n 1 \\
      kairos-register -c shop.yaml      register each as its photo arrives
  kairos-register -c shop.yaml photos/  or all that are there, one by one

Every picture is read once, also over restarts; folders within are watched too,
zips and PDFs opened. Photos of one machine are one: the newest counts. A
machine that a config was released to is not named again, whoever registered
it. For photos that cannot be read the report has the sentence to send back
(--lang); several bad ones of one screen may do together, also over restarts. A
code lasts until its machine is restarted, so the report says how old photos are.

With --output paths the photo of each machine that still waits is named on standard output, at
once, and a newer photo of it too as long as it waits: for kairos-register, which takes several
machines side by side this way. Bad photos that do together are one line, A + B,
which it takes too. No token is printed or kept.

Exit codes: 0 done, 8 with --once if a photo could not be read, 130 stopped by Ctrl-C: everything
found so far is kept.
"""


@click.command(help=HELP)
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option("--once", is_flag=True, help="Read what is there, report, and end.")
@click.option(
    "--for", "duration", metavar="TIME", default="",
    help="Watch so long, then report and end: 8h, 30m, 90s.  [default: until Ctrl-C]",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Read again what could not be read before.")
@click.option("--try-hard", is_flag=True, help="Take more time for bad photos.")
@click.option(
    "--lang", metavar="LANG", default="en", show_default=True,
    help="Language of what is to be sent back: en, es, fr, de, pt.",
)  # fmt: skip
@click.option(
    "--output", type=click.Choice(["human", "json", "jsonl", "paths"]), default="human",
    show_default=True,
    help="Lines for people, one JSON object, a JSON line for each photo, or paths to register.",
)  # fmt: skip
def inbox(
    folder: str, once: bool, duration: str, again: bool, try_hard: bool, lang: str, output: str
) -> int:
    """See HELP."""
    import trio

    from cli.inbox.arrivals import Arrivals
    from cli.inbox.intake import Intake
    from cli.inbox.ledger import Ledger
    from cli.inbox.report import voice
    from pairing.language import LANGUAGES
    from pairing.qr.read import PhotoReader

    if lang not in LANGUAGES:
        raise errors.UsageError(f"The languages are {', '.join(LANGUAGES)}.", element=lang)
    if once and duration:
        raise errors.UsageError("Say --once or --for, not both.")
    seconds = seconds_of(duration) if duration else None
    place = Path(folder)
    if not place.is_dir():
        raise errors.NoSuchSource("It is no folder.", element=folder)
    with Ledger(place) as ledger, PhotoReader(hard=try_hard) as reader:
        watch = Watch(
            Arrivals(folder=place, clock=trio.current_time),
            Intake(folder=place, ledger=ledger, reader=reader, again=again),
            voice(output, lang, place),
        )
        return trio.run(watch.once) if once else trio.run(watch.until, seconds)


def seconds_of(text: str) -> float:
    """Seconds in `8h`, `30m`, `90s` or `90`. Raises errors.UsageError."""
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhd]?)", text.strip())
    if not found or float(found[1]) <= 0:
        raise errors.UsageError("Say a time such as 8h, 30m or 90s.", element=text[:20])
    return float(found[1]) * _UNITS[found[2]]


@dataclass(slots=True)
class Watch:
    """Look, read, speak; and a report at the end, however it comes."""

    arrivals: Arrivals
    intake: Intake
    voice: Voice
    failed: dict[Path, Taken] = field(default_factory=dict)
    """Pictures that could not be read in this run and are not remembered."""
    bad: set[str] = field(default_factory=set)
    """Names of photos of this run that could not be read."""
    stopped: bool = False
    """By Ctrl-C or SIGTERM."""
    _named: set[str] = field(default_factory=set)
    _told: trio.Event = field(init=False)

    def __post_init__(self) -> None:
        import trio

        self._told = trio.Event()

    async def once(self) -> int:
        """What is there now; the exit code. Files that are being written are waited for."""
        return await self._watch(ONCE_SECONDS, once=True)

    async def until(self, seconds: float | None) -> int:
        """Watch for so many seconds, or until Ctrl-C; the exit code."""
        return await self._watch(math.inf if seconds is None else seconds, once=False)

    async def _watch(self, seconds: float, *, once: bool) -> int:
        """Ctrl-C and SIGTERM end it after the photo that is being read; then the report comes."""
        import trio

        end = trio.current_time() + seconds
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._listen)
                await self.look()
                while not self.stopped and (left := end - trio.current_time()) > 0:
                    if once and not self.arrivals.unfinished:
                        break
                    with trio.move_on_after(min(POLL_SECONDS, left)):
                        await self._told.wait()
                    await self.look()
                nursery.cancel_scope.cancel()
        except* errors.KnownError as group:
            raise errors.first_known(group) from None
        finally:
            self.report()
        if self.stopped:
            return int(errors.ExitCode.INTERRUPTED)
        return int(errors.ExitCode.BATCH if once and self.bad else errors.ExitCode.DONE)

    async def _listen(self, task_status: TaskStatus[None]) -> None:
        import trio

        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                self.stopped = True
                self._told.set()

    async def look(self) -> None:
        """Read what has arrived. Raises errors.NoSuchSource, errors.StoreUnwritable."""
        import trio

        waiting: dict[str, Taken] = {}
        try:
            for found in self.arrivals.look():
                for taken in self.intake.take(found):
                    if taken.waits:
                        waiting[taken.photo.name] = taken
                    else:
                        self._say(taken)
                    await trio.lowlevel.checkpoint()
                    if self.stopped:
                        return
            for taken in self.intake.together():
                waiting.pop(taken.photo.name, None)
                self._say(taken)
        finally:
            for taken in waiting.values():
                self._say(taken)

    def _say(self, taken: Taken) -> None:
        from cli.inbox.intake import Result

        node = taken.photo.node
        if taken.result is Result.KNOWN and (not taken.wanted or node in self._named):
            return
        self.failed.pop(taken.path, None)
        self.bad.discard(taken.photo.name)
        if taken.error is not None:
            self.bad.add(taken.photo.name)
            if not self.intake.ledger.has(taken.photo.digest, taken.photo.name):
                self.failed[taken.path] = taken
        if taken.wanted:
            self._named.add(node)
        self.voice.taken(taken)

    def report(self) -> None:
        """Of the whole inbox, what earlier runs found too."""
        from cli.inbox.report import summary

        self.voice.end(summary(self.intake, self.failed, self.arrivals.unfinished))
