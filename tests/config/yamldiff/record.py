"""Write down what Go's yaml.v3 answers: `python tests/config/yamldiff/record.py YAMLDIFF`.

YAMLDIFF is the program built from main.go. The result is tests/data/config/go-yaml.json, which
tests/config/test_config_golang.py compares the loader with where there is no Go.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "data" / "config" / "go-yaml.json"

WORDS = (GOLDEN.parent / "words.txt").read_text("utf-8").split()

DOCUMENTS = (
    "",
    "a:\n",
    "a: 1\nb:\n- 1\n- x: 2\n  y: 3\n",
    "a:\n  - 1\n  -  - 2\n     - 3\n",
    "a: |\n  one\n   two\n\nb: >\n  folded\n  text\n\n  more\nc: |-\n  strip\nd: |+\n  keep\n\n",
    "a: >-\n  x\n\n\n  y\n   z\n  w\n",
    "a: |2\n    two more\n",
    'a: "multi\n  line\n\n  text"\n',
    "a: 'multi\n  line'\n",
    "a: plain\n  goes\n  on\nb: 1\n",
    "a: {b: 1, c: [1, 2,], d: {}}\n",
    "a: [ ]\nb: {}\nc: [[1], {a: b}]\n",
    "a: {b, c: }\n",
    "a: [b: 1, c]\n",
    "a: [1,\n2]\n",
    "a: x # comment\nb: 'x' # comment\n# c\nc: \"#no\"\n",
    "a: 1\r\nb: |\r\n  x\r\n  y\r\n",
    "a:\tb\n",
    "a: b\t\n",
    "a:\n\t- b\n",
    "\ta: 1\n",
    "a: 1\n b: 2\n",
    "a:\n  b: 1\n c: 2\n",
    "a: b: c\n",
    "a: 1\na: 2\n",
    "a: {b: 1, b: 2}\n",
    "a: 1\n'a': 2\n",
    "- a\n- b\n",
    "text\n",
    "---\na: 1\n",
    "---\na: 1\n...\n",
    "a: 1\n---\nb: 2\n",
    "a: &x 1\nb: *x\n",
    "a: &x {b: 1}\nc:\n  <<: *x\n",
    "a: !!str 1\n",
    "a: !x 1\n",
    "? a\n: b\n",
    "? [a]\n: b\n",
    "1: a\n",
    "true: a\n",
    "yes: a\n",
    "null: a\n",
    "2001-01-01: a\n",
    "a: {{ .X }}\n",
    "a: '{{ .X }}'\n",
    'a: "\\u00e9\\x41\\n\\t\\\\"\n',
    'a: "\\q"\n',
    "a: 'open\n",
    'a: "open\n',
    "a: [1, 2\n",
    "a: {b: 1\n",
    "a: ]\n",
    "a: @x\n",
    "a: `x\n",
    "a: %x\n",
    "a: -\n",
    "a: - b\n",
    "a: ?\n",
    "a: ? b\n",
    "a:b\n",
    "a : b\n",
    '"a" : b\n',
    "a: |\n x\n  y\nb: 1\n",
    "a: |\n\n\n  x\n",
    "a: |\nb: 1\n",
    "a: >\n\n  x\n\n\n",
    "a: é ☃ \U0001f600\n",
    "é: 1\n",
    "a: x\u0085y\n",
    "a: x\u2028y\n",
    "a: 'x\n\n\n  y'\n",
    "a: 1 # c\n# d\n\n  # e\nb:\n  # f\n  - 1\n  # g\n  - 2\n",
    "a: 'x' y\n",
    "a: 'x'y\n",
    "a: [a b, 'c' ]\n",
    "a: [a, , b]\n",
    "a: {a: 1, , b: 2}\n",
    "a: *\n",
    "a: &\n",
    "a: !\n",
    "a: ! 1\n",
    "%YAML 1.2\n---\na: 1\n",
    "a: x:\n",
    "a: http://x:1/y\n",
    "a: {b:1}\n",
    'a: {"b":1}\n',
    "a: [x:1]\n",
    "- - - a\n",
    "a:\n- b:\n  - c\n- d\n",
    "a:\n  b:\n    c: 1\n  d: 2\n",
)


def texts() -> list[str]:
    """Every document of the corpus, without the header line; each word in three places."""
    places = ("a: {}\n", "a: [{}]\n", "- {}\n")
    pairs = itertools.product(WORDS, places)
    words = [place.replace("{}", word) for word, place in pairs if place[0] == "a"]
    return [*words, *DOCUMENTS]


def ask(program: str, documents: list[str]) -> Iterator[dict[str, object]]:
    """Go's answer to each of `documents`."""
    lines = "".join(json.dumps(text) + "\n" for text in documents)
    done = subprocess.run(
        [program], input=lines.encode(), capture_output=True, check=True, timeout=60
    )
    return (json.loads(line) for line in done.stdout.splitlines())


def main() -> None:
    corpus = texts()
    answers = ask(sys.argv[1], corpus)
    lines = [json.dumps([t, a], sort_keys=True) for t, a in zip(corpus, answers, strict=True)]
    GOLDEN.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
