"""What happens, told: lines for people, JSON lines, progress bars, one JSON object.

Talk goes to standard error, data (verdicts, JSON) to standard output. Every text of a node is made
harmless before a terminal sees it.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from pairing import errors
from pairing.events import SCHEMA, Event, EventType, State

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LABEL_WIDTH = 11
LINE_LIMIT = 2000
"""Characters of one line of a stranger's text that are shown."""
PLAIN_WIDTH = 10_000
"""Lines are not wrapped where nobody's window is known."""

STATE_TEXTS: Mapping[State, str] = {
    State.WAITING: "shows its code",
    State.CLAIMED: "is ours to decide on",
    State.APPROVED: "has the config",
    State.REFUSED: "was refused",
    State.PLANNED: "has a plan",
    State.INSTALLING: "installs",
    State.WRITTEN: "has written its disk",
    State.REBOOTING: "restarts",
    State.INSTALLED: "is installed",
    State.JOINED: "has joined its cluster",
    State.READY: "is ready",
    State.LOCKED: "is locked",
    State.FAILED: "failed",
}


def safe(text: str, limit: int = LINE_LIMIT) -> str:
    """One line that no terminal obeys: control, format and bidi characters are written out."""
    shown = "".join(c if c.isprintable() else _written_out(c) for c in text[: limit + 1])
    return shown if len(text) <= limit and len(shown) <= limit else shown[: limit - 3] + "..."


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def safe_lines(text: str, most: int = 200) -> list[str]:
    """The lines of a longer text, each harmless; the first `most` of them."""
    return [safe(line) for line in text.split("\n")[:most]]


def event_lines(event: Event) -> list[str]:
    """An event for people; progress within a step has none."""
    if event.type is EventType.STEP:
        return [] if event.done else [f"{safe(event.of, 16)} {safe(event.text or event.step)}"]
    if event.type is EventType.LOG:
        return safe_lines(event.text)
    dry = " (dry run)" if event.dry_run else ""
    first = f"the node {STATE_TEXTS[event.state]}{dry}"
    more = safe_lines(event.text) if event.text else []
    if event.protection is not None:
        more = [*more, safe(event.protection.summary)]
        more += [f"note: {safe(line)}" for line in event.protection.cautions]
    return [first, *(f"  {line}" for line in more)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How it ended for one node. `exit` is its exit code, `state` the last state heard of.

    `seconds` is the time from the claim to the end. `dry_run`: nothing was changed on the node
    (or, with state `claimed`, nothing was even released).
    """

    source: str
    exit: int
    state: str = ""
    node: str = ""
    serial: str = ""
    already: bool = False
    dry_run: bool = False
    released: bool = False
    security: str = ""
    """`bearer` where a machine was registered over Kairos' own protocol."""
    peer: str = ""
    """Its peer id there, which it has for as long as it shows this code; `node` names the code."""
    duplicate_of: str = ""
    """The source that shows the same machine and was used instead; the rest is its verdict."""
    error: errors.KnownError | None = None

    def to_json(self) -> dict[str, Any]:
        """Ready for `json.dumps`."""
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "type": "verdict",
            "source": self.source,
            "exit": self.exit,
            "state": self.state,
            "node": self.node,
            "serial": self.serial,
            "already": self.already,
            "dry_run": self.dry_run,
            "released": self.released,
        }
        if self.security:
            body |= {"security": self.security, "peer": self.peer}
        if self.duplicate_of:
            body["duplicate_of"] = self.duplicate_of
        if self.error is not None:
            body["error"] = error_json(self.error)
        return body

    @property
    def text(self) -> str:
        """One line for people."""
        who = f"serial {safe(self.serial, 80)}" if self.serial else "unknown machine"
        if self.peer:
            who = f"Kairos peer {safe(self.peer, 80)}"
        if self.duplicate_of:
            used = safe(self.duplicate_of)
            return f"{safe(self.source)}: shows the machine of {used}, which was used"
        dry = ", dry run" if self.dry_run else ""
        already = ", it had been before" if self.already else ""
        if self.error is not None:
            end = f"{self.error.code} {self.error.slug}"
            return f"{safe(self.source)}: not done ({end}), {who}, exit {self.exit}"
        state = STATE_TEXTS[State.APPROVED] if self.security and not self.dry_run else self.state
        return f"{safe(self.source)}: {state} ({who}{dry}{already})"


def error_json(error: errors.KnownError) -> dict[str, Any]:
    """An error for scripts."""
    return {
        "code": error.code,
        "slug": error.slug,
        "text": error.sentence,
        "hint": error.hint,
        "element": error.element,
        "retryable": error.retryable,
        "exit": int(error.exit_code),
    }


def error_lines(error: errors.KnownError) -> list[str]:
    """An error for people: what happened, then what to do."""
    first, *rest = safe_lines(error.sentence)
    lines = [f"error {error.code} {error.slug}: {first}", *(f"  {line}" for line in rest)]
    return [*lines, f"hint: {error.hint}"] if error.hint else lines


class Report(Protocol):
    """Where a registration tells what happens."""

    def say(self, label: str, text: str) -> None:
        """Something that was done."""

    def warn(self, text: str) -> None:
        """Something that a person should know."""

    def block(self, label: str, lines: Sequence[str], body: Mapping[str, Any]) -> None:
        """Something of several lines, and the same for scripts; `label` is its type there."""

    def event(self, event: Event, at: str, serial: str) -> None:
        """An event of the node, heard at `at` (UTC)."""

    def verdict(self, verdict: Verdict) -> None:
        """How it ended for one node."""

    def close(self, exit_code: int) -> None:
        """All nodes are done."""

    def quiet(self) -> None:
        """Take moving things off the screen: a person is asked something."""


class Lines:
    """For people: lines on `talk`, verdicts on `data`. `width` in columns."""

    def __init__(self, talk: TextIO, data: TextIO, width: int = PLAIN_WIDTH) -> None:
        self._talk, self._data, self._width = talk, data, width
        self._hints: set[str] = set()

    def say(self, label: str, text: str) -> None:
        self._labelled(label, safe_lines(text))  # file names may be a stranger's too

    def warn(self, text: str) -> None:
        self._labelled("warning", safe_lines(text))

    def block(self, label: str, lines: Sequence[str], body: Mapping[str, Any]) -> None:
        self._labelled(label, [safe(line) for line in lines])

    def event(self, event: Event, at: str, serial: str) -> None:
        label = event.state.value if event.type is not EventType.STEP else "step"
        if lines := event_lines(event):
            self._labelled(label, lines)

    def verdict(self, verdict: Verdict) -> None:
        if (error := verdict.error) is not None:
            lines = error_lines(error)
            if error.hint and error.hint in self._hints:  # of a dozen with the same trouble
                lines[-1] = "hint: as above"
            self._hints.add(error.hint)
            self._write(wrapped(lines, "", self._width))
        print(verdict.text, file=self._data, flush=True)

    def close(self, exit_code: int) -> None:
        pass

    def quiet(self) -> None:
        pass

    def _labelled(self, label: str, lines: Sequence[str]) -> None:
        first = f"{label:<{LABEL_WIDTH}}"
        labelled = [(first if not i else " " * LABEL_WIDTH) + line for i, line in enumerate(lines)]
        self._write(wrapped(labelled, " " * (LABEL_WIDTH + 2), self._width))

    def _write(self, lines: Sequence[str]) -> None:
        self._talk.write("".join(f"{line}\n" for line in lines))
        self._talk.flush()


def wrapped(lines: Sequence[str], indent: str, width: int) -> list[str]:
    """Lines of at most `width` columns; what follows on the next line is indented."""
    folded: list[str] = []
    for line in lines:
        folded += textwrap.wrap(
            line, width, subsequent_indent=indent, drop_whitespace=True, replace_whitespace=False
        ) or [""]
    return folded


class Bars(Lines):
    """`Lines`, with a progress bar below them while a node installs."""

    def __init__(self, talk: TextIO, data: TextIO, width: int) -> None:
        super().__init__(talk, data, width)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def event(self, event: Event, at: str, serial: str) -> None:
        if event.type is EventType.STEP:
            self._advance(event, serial)
            return
        if event.state is not State.INSTALLING:
            self.quiet()
        super().event(event, at, serial)

    def verdict(self, verdict: Verdict) -> None:
        self.quiet()
        super().verdict(verdict)

    def quiet(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._task = None, None

    def _advance(self, event: Event, serial: str) -> None:
        number, _, count = event.of.partition("/")
        if not (number.isdecimal() and count.isdecimal()):
            return
        progress = self._progress or self._start(int(count))
        done = int(number) - 1 + (event.done / event.total if event.total else 0)
        assert self._task is not None
        text = f"{safe(event.of, 16)} {safe(event.step, 32)}"
        progress.update(self._task, completed=done, total=int(count), description=text)
        if not event.done:
            for line in event_lines(event):
                self._labelled("step", [line])

    def _start(self, total: int) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(file=self._talk, width=self._width, highlight=False, markup=False)
        columns = (
            TextColumn("{task.description:<24}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%", markup=False),
            TimeElapsedColumn(),
        )
        self._progress = Progress(
            *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._task = self._progress.add_task("", total=total)
        self._progress.start()
        return self._progress

    def _write(self, lines: Sequence[str]) -> None:
        if self._progress is None:
            super()._write(lines)
            return
        for line in lines:
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


class JsonLines(Lines):
    """For scripts: each event and verdict as one JSON line on `data`, as it happens."""

    def say(self, label: str, text: str) -> None:
        self._line({"type": "notice", "about": label, "text": text})

    def warn(self, text: str) -> None:
        self._line({"type": "warning", "text": text})

    def block(self, label: str, lines: Sequence[str], body: Mapping[str, Any]) -> None:
        self._line({"type": label, **body})

    def event(self, event: Event, at: str, serial: str) -> None:
        self._line({"at": at, "serial": serial, **event.to_json()})

    def verdict(self, verdict: Verdict) -> None:
        self._line(verdict.to_json())

    def _line(self, body: Mapping[str, Any]) -> None:
        text = json.dumps({"schema": SCHEMA, **body}, ensure_ascii=True)
        print(text, file=self._data, flush=True)


class JsonObject(Lines):
    """For scripts: one JSON object on `data` at the end; warnings are said at once."""

    def __init__(self, talk: TextIO, data: TextIO, width: int = PLAIN_WIDTH) -> None:
        super().__init__(talk, data, width)
        self._nodes: list[dict[str, Any]] = []
        self._blocks: dict[str, Any] = {}

    def say(self, label: str, text: str) -> None:
        pass

    def block(self, label: str, lines: Sequence[str], body: Mapping[str, Any]) -> None:
        self._blocks[label] = dict(body)

    def event(self, event: Event, at: str, serial: str) -> None:
        if event.type is EventType.STATE:
            self._blocks.setdefault("states", []).append({"at": at, **event.to_json()})

    def verdict(self, verdict: Verdict) -> None:
        self._nodes.append({**verdict.to_json(), **self._blocks})
        self._blocks = {}

    def close(self, exit_code: int) -> None:
        body = {"schema": SCHEMA, "exit": exit_code, "nodes": self._nodes}
        print(json.dumps(body, ensure_ascii=True, indent=2), file=self._data, flush=True)


OUTPUTS = ("human", "json", "jsonl")


def report_for(output: str, talk: TextIO, data: TextIO) -> Report:
    """The report for `--output`; bars only where somebody watches a terminal."""
    if output == "jsonl":
        return JsonLines(talk, data)
    if output == "json":
        return JsonObject(talk, data)
    if talk.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return Bars(talk, data, terminal_width())
    return Lines(talk, data)


def terminal_width() -> int:
    """Columns of the terminal, at least 40, at most 120; 80 if it does not say."""
    import shutil

    return max(40, min(120, shutil.get_terminal_size((80, 24)).columns))
