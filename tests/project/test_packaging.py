"""What is published: the wheel's contents, the locks, the environment made from them."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import wheels
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).resolve().parents[2]
PACKAGES = {"pairing", "node", "cli"}
# libp2p 0.8.1 pins a fastecdsa without Linux wheels; docs/adr/0001 says why ours is newer.
KNOWN_CONFLICT = (
    'libp2p 0.8.1 has requirement fastecdsa==2.3.2; sys_platform != "win32", '
    "but you have fastecdsa 4.0.0."
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(wheels.project_wheel(tmp_path_factory.mktemp("wheel"))) as opened:
        yield opened


def setup() -> configparser.ConfigParser:
    parsed = configparser.ConfigParser()
    parsed.read(TOP / "setup.cfg", encoding="utf-8")
    return parsed


def locked(*roles: str) -> dict[str, str]:
    """Name to version of every line in the named locks that is meant for this Python."""
    found: dict[str, str] = {}
    for role in roles:
        text = (TOP / f"requirements{role}.lock").read_text(encoding="utf-8")
        for line in re.findall(r"^[A-Za-z0-9._-]+==[^\\\n]+", text, re.MULTILINE):
            wanted = Requirement(line)
            assert canonicalize_name(wanted.name) not in found, f"{wanted.name} is locked twice"
            if wanted.marker is None or wanted.marker.evaluate():
                (version,) = wanted.specifier
                found[canonicalize_name(wanted.name)] = version.version
    return found


@pytest.mark.slow
def test_the_wheel_holds_exactly_three_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


@pytest.mark.slow
def test_the_wheel_holds_every_source_and_data_file(wheel: zipfile.ZipFile) -> None:
    listed = subprocess.run(
        ["git", "ls-files", *sorted(PACKAGES)], cwd=TOP, capture_output=True, text=True, check=True
    )
    present = {name for name in listed.stdout.split() if (TOP / name).exists()}
    assert present
    missing = sorted(present - set(wheel.namelist()))
    assert not missing, "setup.cfg, options.package_data: " + ", ".join(missing)


@pytest.mark.slow
def test_the_wheel_names_its_commands_and_licence(wheel: zipfile.ZipFile) -> None:
    (entry,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    commands = re.findall(r"^(\S+) = ", wheel.read(entry).decode(), re.MULTILINE)
    assert sorted(commands) == ["kairos-fleet", "kairos-node", "kairos-register"]
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


@pytest.mark.parametrize("extra", ["", "p2p", "dev"])
def test_the_locks_satisfy_setup_cfg(extra: str) -> None:
    parsed, have = setup(), locked("", "-dev")
    lines = (
        parsed["options.extras_require"][extra] if extra else parsed["options"]["install_requires"]
    )
    wanted = [Requirement(line) for line in lines.splitlines() if line and line[0] != "#"]
    assert wanted
    for requirement in wanted:
        version = have.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is in no lock: make lock"
        assert requirement.specifier.contains(version), f"{requirement} but locked is {version}"


def test_every_locked_line_has_a_hash_and_no_place() -> None:
    for lock in TOP.glob("requirements*.lock"):
        text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert lines
        for line in lines:
            assert "--hash=sha256:" in line, line
            assert "://" not in line, line
            assert "/" not in line, line


def test_this_environment_is_the_locked_one() -> None:
    for name, version in locked("-build", "", "-dev").items():
        assert importlib.metadata.version(name) == version, f"{name}: make tools"


@pytest.mark.slow
def test_pip_check_finds_the_one_known_conflict_and_no_other() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [KNOWN_CONFLICT], done.stderr
    assert done.returncode == 1


def test_nobody_else_installs_our_package_names() -> None:
    owners = importlib.metadata.packages_distributions()
    for package in PACKAGES:
        assert set(owners.get(package, [])) <= {"kairos-register"}


@pytest.fixture
def onefile(tmp_path: Path) -> Path:
    """The real bootstrap around a tiny program, as `make dist` lays it out."""
    archive = tmp_path / "kairos-register-test.pyz"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(TOP / ".ci" / "bootstrap.py", "__main__.py")
        packed.writestr("contents.txt", "0123456789abcdef\n")
        packed.writestr("target.txt", wheels.TARGET + "\n")
        packed.writestr(
            "site-packages/cli/register.py",
            "import subprocess, sys\n"
            "def main():\n"
            "    again = [sys.executable, '-c', 'import cli.register; print(\"child\")']\n"
            "    print('register', sys.argv[1:], flush=True)\n"
            "    return subprocess.run(again, env={}).returncode\n",
        )
        packed.writestr("site-packages/cli/fleet.py", "def main(): print('fleet')\n")
    return archive


def start(archive: Path, cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, archive, *arguments],
        cwd=archive.parent,  # away from the checkout, whose packages `-c` would find
        env={"XDG_CACHE_HOME": str(cache), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_one_file_program_unpacks_once_and_serves_its_children(
    onefile: Path, tmp_path: Path
) -> None:
    first = start(onefile, tmp_path / "cache", "photo.png")
    assert (first.returncode, first.stdout) == (0, "register ['photo.png']\nchild\n"), first.stderr
    assert "unpacking" in first.stderr
    second = start(onefile, tmp_path / "cache", "photo.png")
    assert (second.stdout, second.stderr) == (first.stdout, "")


def test_the_one_file_program_goes_by_its_name(onefile: Path, tmp_path: Path) -> None:
    fleet = onefile.with_name("kairos-fleet-test.pyz")
    shutil.copy(onefile, fleet)
    assert start(fleet, tmp_path / "cache").stdout == "fleet\n"


def test_the_one_file_program_refuses_another_python(onefile: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(onefile) as packed:
        entries = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(onefile, "w") as packed:
        for name, content in (entries | {"target.txt": b"cp27-vax\n"}).items():
            packed.writestr(name, content)
    refused = start(onefile, tmp_path / "cache")
    assert refused.returncode == 9
    assert "cp27-vax" in refused.stderr
    assert not (tmp_path / "cache").exists()
