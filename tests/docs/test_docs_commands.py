"""README's, quickstart's and how-to's shell commands work as written.

Blocks fenced with `sh` run in the page's order in one folder, unless the comment line before says
`<!-- not run by the tests: why -->`. `<!-- run by the tests: in the background, until ... -->` is a
second terminal: it runs until the page is through, and what is waited for is named. A block that
is run `where` a program is, is left out on a machine without it; never in CI.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import pytest

from pairing.testing.patience import patient

TOP = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/quickstart.md", "docs/how-to.md")
BLOCK = re.compile(r"(?:^<!-- (?P<mark>.+?) -->\n)?^```sh\n(?P<text>.*?)^```$", re.M | re.S)
NOT_RUN = re.compile(r"not run by the tests: \S.+", re.S)
WHERE = re.compile(r"run by the tests where `(?P<program>\S+)` is")
BACKGROUND = re.compile(
    r"run by the tests: in the background, until (it says `(?P<said>[^`]+)`"
    r"|its picture shows (?P<shown>an address|a code))"
)
BLOCK_SECONDS = patient(240.0)
"""`image keys` makes a small Debian with its tools, if the cache has none: 30 s of a free core."""
LOOKS = 100
"""Looks at a picture, each a process of its own, until it has to show what is waited for."""


LOGGED = {"an address": "addresses: ", "a code": "code shown"}
"""What a node says before its picture can show that."""


@dataclass(frozen=True, slots=True)
class Block:
    """Commands of a page. `said` or `shown`: what a second terminal is waited for."""

    text: str
    run: bool = True
    said: str = ""
    shown: str = ""


def blocks(page: str) -> Iterator[Block]:
    for found in BLOCK.finditer((TOP / page).read_text(encoding="utf-8")):
        mark = found["mark"] or ""
        behind = BACKGROUND.fullmatch(mark)
        if behind:
            yield Block(found["text"], said=behind["said"] or "", shown=behind["shown"] or "")
        elif where := WHERE.fullmatch(mark):
            yield Block(found["text"], run="CI" in os.environ or bool(which(where["program"])))
        else:
            assert not mark or NOT_RUN.fullmatch(mark), f"{page}: unknown mark: {mark}"
            yield Block(found["text"], run=not mark)


@dataclass(slots=True)
class Desk:
    """A folder that looks like the project's top, a home of its own, and second terminals."""

    folder: Path
    environment: dict[str, str]
    terminals: list[subprocess.Popen[bytes]]

    def run(self, block: Block) -> None:
        # Exported variables live on as they do in a terminal.
        kept = self.folder / "exported"
        script = f"[ ! -f {kept} ] || . {kept}\n{block.text}\nexport -p > {kept}\n"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{block.text}\n{(done.stdout + done.stderr).decode()}"

    def start(self, block: Block) -> None:
        kept = self.folder / "exported"
        script = f"[ ! -f {kept} ] || . {kept}\n{block.text}"
        log = self.folder / f"terminal-{len(self.terminals)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.terminals.append(process)
        for _ in range(LOOKS):
            assert process.poll() is None, f"{block.text}\n{log.read_text()}"
            if self._seen(block, log):
                return
        pytest.fail(f"not seen: {block}\n{log.read_text()}")

    def _seen(self, block: Block, log: Path) -> bool:
        line = block.said or LOGGED[block.shown]
        # A look waits for a second at most, and is over when the line is there. (Not `tail -f` and
        # a pipe: that ends with the next line, if there is one.)
        subprocess.run(
            ["timeout", "1", "sh", "-c", f"until grep -qF '{line}' {log}; do sleep 0.05; done"],
            check=False,
            timeout=BLOCK_SECONDS,
        )
        if block.said or line not in log.read_text():
            return line in log.read_text()
        (picture,) = re.findall(r"--picture (\S+)", block.text)
        looked = subprocess.run(
            ["bash", "-c", f"kairos-fleet decode {picture} | kairos-fleet token -"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        said = looked.stdout.decode()
        return "fingerprint" in said and (
            block.shown == "a code" or "addresses    none" not in said
        )

    def close(self) -> None:
        for process in self.terminals:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(30)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    folder = tmp_path / "checkout"
    folder.mkdir()
    for item in TOP.iterdir():
        if item.name != ".git":
            (folder / item.name).symlink_to(item)
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        # Parts of images lie there by the hash of their inputs, the tools for keys among them.
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
    }
    made = Desk(folder, environment, [])
    yield made
    made.close()


@pytest.mark.timeout(patient(600))
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work(page: str, desk: Desk) -> None:
    for block in blocks(page):
        if not block.run:
            continue
        if block.said or block.shown:
            desk.start(block)
        else:
            desk.run(block)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_commands_that_run(page: str) -> None:
    assert sum(block.run for block in blocks(page)) >= 2


def test_a_block_for_a_program_is_left_out_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> list[bool]:
        return [block.run for block in blocks("docs/how-to.md") if "image keys" in block.text]

    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PATH", "")
    assert keys() == [False]
    monkeypatch.setenv("CI", "true")
    assert keys() == [True]


def test_a_wrong_command_is_noticed(desk: Desk) -> None:
    with pytest.raises(AssertionError, match="no-such-option"):
        desk.run(Block("kairos-fleet token --no-such-option\n"))
