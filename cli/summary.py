"""How all machines are: one count, in every form that somebody wants to have it in."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from cli import labels
from cli.nodes import COUNTED, NEEDS_SOMEBODY, Condition, NodeRecord
from pairing.report import safe

SCHEMA = 1
SAID: Mapping[Condition, str] = MappingProxyType(
    {
        Condition.FAILED: "failed",
        Condition.LOCKED: "locked",
        Condition.QUIET: "not done, and not heard from",
        Condition.REFUSED: "refused",
        Condition.WORKING: "at work",
        Condition.IN_ORDER: "in order",
    }
)


@dataclass(frozen=True, slots=True)
class Summary:
    """`nodes` as they are at `at`. Those that do not count any more are only counted."""

    at: datetime
    nodes: Sequence[NodeRecord]
    quiet_after: timedelta

    def condition(self, node: NodeRecord) -> Condition:
        """What it means."""
        return node.condition(self.at, self.quiet_after)

    @property
    def counts(self) -> dict[Condition, int]:
        """How many there are of each condition."""
        found = Counter(map(self.condition, self.nodes))
        return {condition: found[condition] for condition in Condition}

    @property
    def counted(self) -> list[NodeRecord]:
        """The machines in use."""
        return [node for node in self.nodes if self.condition(node) in COUNTED]

    @property
    def waiting(self) -> list[NodeRecord]:
        """Those that need somebody, the worst first, then the longest silent."""
        found = [node for node in self.nodes if self.condition(node) in NEEDS_SOMEBODY]
        return sorted(found, key=lambda node: (NEEDS_SOMEBODY.index(self.condition(node)), node.at))

    def ago(self, node: NodeRecord) -> str:
        """How long ago it was heard, for people."""
        silence = node.silence(self.at)
        if silence is None:
            return "never"
        minutes = int(silence.total_seconds() // 60)
        for unit, size in (("d", 1440), ("h", 60)):
            if minutes >= 2 * size:
                return f"{minutes // size} {unit} ago"
        return f"{max(0, minutes)} min ago"


def human(summary: Summary) -> str:
    """A few lines, then a line for each machine that needs somebody."""
    counts, many = summary.counts, len(summary.counted)
    lines = [f"{many} machine{'' if many == 1 else 's'}"]
    for condition in reversed(COUNTED):
        states = Counter(
            node.state or "nothing heard"
            for node in summary.nodes
            if summary.condition(node) is condition
        )
        if counts[condition]:
            among = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
            lines.append(f"  {counts[condition]:>6}  {SAID[condition]} ({among})")
    gone = [f"{counts[one]} {one}" for one in Condition if counts[one] and one not in COUNTED]
    lines += [f"  not counted: {', '.join(gone)}"] if gone else []
    if summary.waiting:
        lines += ["", "need somebody:"]
    lines += [_needs(summary, node) for node in summary.waiting]
    told = [node for node in summary.counted if node.told]
    lines += ["", "have told something since:"] if told else []
    lines += [f"  {node.hostname or node.serial or node.node}  {node.told}" for node in told]
    return "".join(f"{safe(line)}\n" for line in lines)


def _needs(summary: Summary, node: NodeRecord) -> str:
    name = node.hostname or node.serial or node.node
    what = f"{node.state or 'nothing heard'}{f' at {node.step}' if node.step else ''}"
    what = f"{what} ({node.code})" if node.code else what
    line = f"  {summary.condition(node):<7}  {name:<20}  {what}, {summary.ago(node)}"
    return f"{line}  {labels.text_of(node.labels)}".rstrip()


def _body(summary: Summary) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "at": summary.at.isoformat(timespec="seconds"),
        "machines": len(summary.counted),
        "counts": {condition.value: number for condition, number in summary.counts.items()},
    }


def as_json(summary: Summary) -> str:
    """One object: the counts, and every machine in use."""
    nodes = [node.to_json(summary.at, summary.quiet_after) for node in summary.counted]
    return json.dumps({**_body(summary), "nodes": nodes}, indent=1) + "\n"


def as_jsonl(summary: Summary) -> str:
    """A line for each machine in use, then one with the counts."""
    nodes = [node.to_json(summary.at, summary.quiet_after) for node in summary.counted]
    lines = [*({"type": "node", **node} for node in nodes), {"type": "status", **_body(summary)}]
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def as_csv(summary: Summary) -> str:
    """A table of the machines in use."""
    cells = [node.cells(summary.at, summary.quiet_after) for node in summary.counted]
    return labels.table(cells, [node.labels for node in summary.counted])


def as_prometheus(summary: Summary) -> str:
    """Gauges in the text format of Prometheus, for the textfile collector of its node exporter."""
    lines = ["# HELP kairos_machines Registered machines by condition.",
             "# TYPE kairos_machines gauge"]  # fmt: skip
    lines += [
        f'kairos_machines{{condition="{condition.value}"}} {number}'
        for condition, number in summary.counts.items()
    ]
    lines += ["# HELP kairos_status_time_seconds When this was counted.",
              "# TYPE kairos_status_time_seconds gauge",
              f"kairos_status_time_seconds {int(summary.at.timestamp())}"]  # fmt: skip
    return "".join(f"{line}\n" for line in lines)


STYLE = """body{font:16px/1.4 sans-serif;margin:2em;color:#222;background:#fff}
table{border-collapse:collapse}td,th{padding:.2em .8em;border-bottom:1px solid #ccc;text-align:left}
.failed,.locked,.refused{background:#fdd}.quiet{background:#fec}.in-order{background:#dfd}"""


def as_html(summary: Summary) -> str:
    """A page of its own, without scripts or anything from elsewhere."""
    many, at = len(summary.counted), summary.at.strftime("%Y-%m-%d %H:%M UTC")
    counts = "".join(
        _row(condition, [str(summary.counts[condition]), SAID[condition]]) for condition in COUNTED
    )
    first = {node.node: node for node in summary.waiting}
    ours = (first | {node.node: node for node in summary.counted}).values()
    rows = "".join(_row(summary.condition(node), _cells(summary, node)) for node in ours)
    head = "".join(f"<th>{name}</th>" for name in ("host name", "serial", "condition", "state",
                                                   "last heard", "labels"))  # fmt: skip
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{many} machines</title>\n'
        f"<style>{STYLE}</style>\n<h1>{many} machines</h1>\n<p>{at}</p>\n<table>{counts}</table>\n"
        f"<h2>Each of them</h2>\n<table><tr>{head}</tr>\n{rows}</table>\n</html>\n"
    )


def _cells(summary: Summary, node: NodeRecord) -> list[str]:
    heard, said = summary.ago(node), labels.text_of(node.labels)
    condition = summary.condition(node).value
    return [node.hostname, node.serial, condition, node.said, heard, said]


def _row(condition: Condition, cells: Sequence[str]) -> str:
    shown = "".join(f"<td>{html.escape(safe(cell))}</td>" for cell in cells)
    return f'<tr class="{condition.value}">{shown}</tr>\n'


OUTPUTS: Mapping[str, Callable[[Summary], str]] = MappingProxyType(
    {
        "human": human,
        "json": as_json,
        "jsonl": as_jsonl,
        "csv": as_csv,
        "prometheus": as_prometheus,
        "html": as_html,
    }
)
