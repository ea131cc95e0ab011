"""What was measured, as tables: on the terminal, and the last whole run in README.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pairing.testing.measured import Figure, figure_from_json

README = Path(__file__).resolve().parent / "README.md"
MARK = "## The last whole run\n"


def lines(figures: Sequence[Figure]) -> list[str]:
    """A table: median, smallest, largest, goal."""
    width = max(len(figure.name) for figure in figures)
    return [
        f"  {figure.name:<{width}}  {_number(figure.median)} {figure.unit:<6}"
        f" {_number(min(figure.samples))} ..{_number(max(figure.samples))}"
        + (f"  goal {figure.goal:g}: {figure.judgement}" if figure.goal is not None else "")
        for figure in figures
    ]


def _number(value: float) -> str:
    return f"{value:>9.{0 if value >= 1000 else 3}f}"


def remember(result: Path) -> None:
    """Put the result of a whole run into README.md, in place of the one before."""
    body = json.loads(result.read_text("utf-8"))
    text = README.read_text("utf-8").partition(MARK)[0]
    README.write_text(text + MARK + "\n" + "\n".join(_page(result, body)) + "\n", "utf-8")


def _page(result: Path, body: Mapping[str, Any]) -> Iterator[str]:
    machine = body["machine"]
    loads = ", ".join(str(subject["load_before"]) for subject in body["subjects"])
    changed = " with changes" if body["changed"] else ""
    yield f"[{result.name}](results/{result.name}), commit {body['commit'][:10]}{changed}."
    yield f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_mib']} MiB, Linux"
    yield f"{machine['kernel']}, Python {machine['python']}. Load average before each subject:"
    yield f"{loads}."
    yield ""
    yield "| figure | median | min | max | unit | goal | |"
    yield "|---|--:|--:|--:|---|--:|---|"
    for subject in body["subjects"]:
        yield from _rows([figure_from_json(figure) for figure in subject["figures"]])


def _rows(figures: Sequence[Figure]) -> Iterator[str]:
    for figure in figures:
        values = (figure.median, min(figure.samples), max(figure.samples))
        shown = " | ".join(_number(value).strip() for value in values)
        goal = "" if figure.goal is None else f"{figure.goal:g}"
        yield f"| {figure.name} | {shown} | {figure.unit} | {goal} | {figure.judgement} |"
