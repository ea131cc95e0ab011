"""The shape rules of the house: short functions, short files, names in the user's words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
FUNCTION_LINES = 60
FILE_LINES = 400
FORBIDDEN = ("manager", "helper", "util")
PACKAGES = ("pairing", "node", "cli")
CHECKED = (*PACKAGES, "tests", "benchmarks", ".ci")


def python_files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((TOP / folder).rglob("*.py"))]
    assert found, f"no Python file below {folders}"
    return found


def long_functions(tree: ast.AST, limit: int = FUNCTION_LINES) -> Iterator[tuple[str, int]]:
    """Name and length of each function longer than `limit` lines, decorators not counted."""
    for item in ast.walk(tree):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (item.end_lineno or item.lineno) - item.lineno + 1
            if length > limit:
                yield item.name, length


def forbidden_names(tree: ast.AST) -> Iterator[str]:
    """Names of functions and classes that say nothing about what they do."""
    for item in ast.walk(tree):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and is_forbidden(
            item.name
        ):
            yield item.name


def is_forbidden(name: str) -> bool:
    return any(word in name.lower() for word in FORBIDDEN)


def breaches(path: Path) -> list[str]:
    """What is wrong with one file, one line each."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, str(path))
    lines = text.count("\n")
    found = [f"{name}() has {length} lines" for name, length in long_functions(tree)]
    found += [f"the name {name} says nothing" for name in forbidden_names(tree)]
    if is_forbidden(path.stem):
        found.append("the file name says nothing")
    if lines > FILE_LINES:
        found.append(f"{lines} lines, more than {FILE_LINES}")
    return [f"{path.relative_to(TOP)}: {breach}" for breach in found]


def test_every_file_keeps_the_shape() -> None:
    found = [line for path in python_files(*CHECKED) for line in breaches(path)]
    assert not found, "\n" + "\n".join(found)


def test_only_the_three_packages_are_importable() -> None:
    markers = [str(path.parent.relative_to(TOP)) for path in TOP.glob("*/__init__.py")]
    assert sorted(markers) == sorted(PACKAGES)
    for folder in ("tests", "examples", "benchmarks"):
        assert not list((TOP / folder).rglob("__init__.py")), folder


def test_test_files_have_unique_names() -> None:
    names = [path.name for path in (TOP / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n" + "    pass\n" * 60, [("f", 61)]),
        ("async def f():\n" + "    pass\n" * 60, [("f", 61)]),
        ("def f():\n" + "    pass\n" * 59, []),
    ],
)
def test_the_rule_itself_sees_long_functions(source: str, expected: list[tuple[str, int]]) -> None:
    assert list(long_functions(ast.parse(source))) == expected


def test_the_rule_itself_sees_empty_names() -> None:
    tree = ast.parse("class PhotoManager: pass\ndef run_helper(): pass\ndef photo(): pass\n")
    assert list(forbidden_names(tree)) == ["PhotoManager", "run_helper"]
