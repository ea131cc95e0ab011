"""No path, link or trick of a config reaches anything outside the root (T11)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.stages.inside import Inside, split
from pairing import errors
from pairing.config.places import RESERVED
from tests.stages.conftest import tree

HERE = (os.getuid(), os.getgid())


@pytest.fixture
def around(tmp_path: Path) -> Path:
    """A folder with a root inside it, and something to be hurt beside it."""
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/victim").write_text("as it was")
    (tmp_path / "outside/victim").chmod(0o640)
    return tmp_path


def hostile(around: Path) -> dict[str, Callable[[Path], None]]:
    """Ways to lead from /etc/x/victim to the file outside."""
    outside = around / "outside"
    return {
        "an absolute link": lambda x: x.symlink_to(outside),
        "a link upwards": lambda x: x.symlink_to("../../outside"),
        "a link far upwards": lambda x: x.symlink_to("../" * 50 + str(outside)[1:]),
        "a link through the process": lambda x: x.symlink_to(f"/proc/{os.getpid()}/root{outside}"),
        "a chain of links": lambda x: (
            x.with_name("a").symlink_to(outside),
            x.symlink_to("a"),
        )[1],
    }


@pytest.mark.parametrize("trick", range(5))
def test_links_lead_nowhere_outside(around: Path, trick: int) -> None:
    name, make = list(hostile(around).items())[trick]
    make(around / "root/etc/x")
    before = tree(around / "outside")
    inside = Inside(around / "root")
    with contextlib.suppress(errors.PathRefused, OSError):
        inside.write("/etc/x/victim", b"hurt", mode=0o777, owner=HERE)
    with contextlib.suppress(errors.PathRefused, OSError):
        inside.make_folder("/etc/x", mode=0o777, owner=HERE)
    assert inside.read("/etc/x/victim") in (None, b"hurt"), name
    assert tree(around / "outside") == before, name


@pytest.mark.parametrize("trick", range(2))
def test_control_the_same_links_hurt_whoever_opens_by_path(around: Path, trick: int) -> None:
    """The positive control: without our walk these very trees lead outside."""
    list(hostile(around).values())[trick](around / "root/etc/x")
    (around / "root/etc/x/victim").write_bytes(b"hurt")
    assert (around / "outside/victim").read_bytes() == b"hurt"


def test_a_link_inside_is_followed_like_the_system_would(around: Path) -> None:
    root = around / "root"
    (root / "etc/alternatives").symlink_to("/var/lib/alternatives")
    Inside(root).write("/etc/alternatives/editor", b"x", mode=0o644, owner=HERE)
    assert (root / "var/lib/alternatives/editor").read_bytes() == b"x"
    assert Inside(root).read("/etc/alternatives/editor") == b"x"


def test_a_link_at_the_end_is_replaced_and_its_target_kept(around: Path) -> None:
    root = around / "root"
    (root / "etc/motd").symlink_to("../outside/victim")
    Inside(root).write("/etc/motd", b"new", mode=0o600, owner=HERE)
    assert not (root / "etc/motd").is_symlink()
    assert (around / "outside/victim").read_text() == "as it was"


def test_what_is_as_asked_for_is_not_written_again(around: Path) -> None:
    """A full disk keeps no settings from being in force that are there already."""
    inside, path = Inside(around / "root"), around / "root/etc/conf"
    inside.write("/etc/conf", b"x", mode=0o640, owner=HERE)
    first = path.stat().st_ino
    inside.write("/etc/conf", b"x", mode=0o640, owner=HERE)
    assert path.stat().st_ino == first
    for content, mode in ((b"y", 0o640), (b"x", 0o600)):
        inside.write("/etc/conf", content, mode=mode, owner=HERE)
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (content, mode)
    second = path.stat().st_ino
    (around / "root/etc/other").hardlink_to(path)
    inside.write("/etc/conf", b"x", mode=0o600, owner=HERE)
    assert path.stat().st_ino != second


def test_another_name_of_the_file_keeps_its_content(around: Path) -> None:
    root = around / "root"
    (root / "etc/hard").hardlink_to(around / "outside/victim")
    Inside(root).write("/etc/hard", b"new", mode=0o666, owner=HERE)
    assert (around / "outside/victim").read_text() == "as it was"
    assert (around / "outside/victim").stat().st_mode & 0o777 == 0o640


def test_no_link_at_all_where_somebody_else_may_put_one(around: Path) -> None:
    root = around / "root"
    (root / "home/eve").mkdir(parents=True)
    (root / "home/eve/.ssh").symlink_to("/etc")
    inside = Inside(root)
    with pytest.raises(errors.PathRefused):
        inside.write("/home/eve/.ssh/passwd", b"x", mode=0o600, owner=HERE, links=False)
    with pytest.raises(errors.PathRefused):
        inside.make_folder("/home/eve/.ssh", mode=0o777, owner=HERE, links=False)
    assert tree(root / "etc") == {}
    # The positive control: with links this is where it leads.
    inside.write("/home/eve/.ssh/passwd", b"x", mode=0o600, owner=HERE)
    assert (root / "etc/passwd").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("link", "target", "asked"),
    [
        ("home/eve/work", "/etc", "/home/eve/work"),
        ("home/eve/work", "/etc", "/home/eve/work/deeper"),
        ("home/eve/.bashrc", "/etc/secret", "/home/eve/.bashrc"),
    ],
)
def test_links_of_somebody_who_is_not_root_are_not_followed(
    around: Path, link: str, target: str, asked: str
) -> None:
    """Who runs the test stands for somebody: root is the only one whose links count then."""
    root = around / "root"
    (root / "home/eve").mkdir(parents=True)
    (root / "etc/secret").write_bytes(b"secret")
    (root / link).symlink_to(target)
    before = tree(root / "etc")
    roots_only, ours = Inside(root, owners=frozenset()), Inside(root)
    refused = pytest.raises(errors.PathRefused, match="somebody's link")
    if target == "/etc":
        with refused:
            roots_only.make_folder(asked, mode=0o777, owner=HERE)
        with refused:
            roots_only.write(f"{asked}/x", b"x", mode=0o600, owner=HERE)
        assert tree(root / "etc") == before
        ours.write(f"{asked}/x", b"x", mode=0o600, owner=HERE)  # the control
        assert tree(root / "etc") != before
    else:
        with refused:
            roots_only.read(asked)
        assert ours.read(asked) == b"secret"  # the control


@pytest.mark.root
def test_root_follows_its_own_links_only(around: Path) -> None:
    root = around / "root"
    (root / "home/eve").mkdir(parents=True)
    link = root / "home/eve/work"
    link.symlink_to("/etc")
    Inside(root).write("/home/eve/work/x", b"x", mode=0o600)
    assert (root / "etc/x").exists()
    os.chown(link, 1000, 1000, follow_symlinks=False)
    with pytest.raises(errors.PathRefused, match="somebody's link"):
        Inside(root).write("/home/eve/work/y", b"x", mode=0o600)
    assert not (root / "etc/y").exists()


def test_a_loop_of_links_ends(around: Path) -> None:
    root = around / "root"
    (root / "etc/a").symlink_to("b")
    (root / "etc/b").symlink_to("a")
    with pytest.raises((errors.PathRefused, OSError)):
        Inside(root).write("/etc/a/x", b"x", mode=0o600, owner=HERE)
    with pytest.raises(OSError, match="symbolic links"):
        Inside(root).read("/etc/a")


@pytest.mark.parametrize("ours", RESERVED)
def test_places_of_ours_are_refused_also_through_links(around: Path, ours: str) -> None:
    root = around / "root"
    (root / ours[1:]).mkdir(parents=True)
    (root / "etc/link").symlink_to(ours)
    before = tree(root)
    for path in (f"{ours}/x", f"{ours}/deep/er/x", "/etc/link/x", f"/var/../{ours}/x"):
        with pytest.raises(errors.PathRefused):
            Inside(root).write(path, b"x", mode=0o600, owner=HERE)
        with pytest.raises(errors.PathRefused):
            Inside(root).make_folder(path, mode=0o777, owner=HERE)
    assert {path for path in tree(root) if path not in before} <= {"var"}


@pytest.mark.parametrize("path", ["", "etc/x", "/etc/../x", "/..", "/a\0b"])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(errors.PathRefused):
        split(path)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_are_exact(around: Path, umask: int) -> None:
    root = around / "root"
    old = os.umask(umask)
    try:
        Inside(root).write("/new/folder/x", b"x", mode=0o4751, owner=HERE)
        Inside(root).make_folder("/made", mode=0o1777, owner=HERE)
    finally:
        os.umask(old)
    assert (root / "new/folder/x").stat().st_mode & 0o7777 == 0o4751
    assert (root / "new/folder").stat().st_mode & 0o7777 == 0o755
    assert (root / "made").stat().st_mode & 0o7777 == 0o1777


def test_a_half_written_file_of_before_is_no_hindrance(around: Path) -> None:
    root = around / "root"
    (root / "etc/.kairos-new").write_text("half")
    Inside(root).write("/etc/x", b"whole", mode=0o600, owner=HERE)
    assert set(tree(root / "etc")) == {"x"}


def test_only_regular_files_are_read(around: Path) -> None:
    root = around / "root"
    os.mkfifo(root / "etc/pipe")
    with pytest.raises(errors.PathRefused):
        Inside(root).read("/etc/pipe")
    assert Inside(root).read("/etc/nothing") is None
    assert Inside(root).read("/etc/pipe/x") is None


NAMES = st.sampled_from(["a", "b", "c", "..", ".", "etc", "outside", "victim"])
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    links=st.dictionaries(
        st.sampled_from(["a", "b", "c", "etc/a", "etc/b", "a/b"]),
        st.tuples(st.sampled_from(["", "/", "../", "../../", "ABS"]), PATHS),
    ),
    path=PATHS,
    append=st.booleans(),
)
def test_no_inode_outside_ever_changes(
    tmp_path_factory: pytest.TempPathFactory,
    links: dict[str, tuple[str, str]],
    path: str,
    append: bool,
) -> None:
    """The law, on any tree of links: whatever is written, nothing outside the root changes."""
    around = tmp_path_factory.mktemp("around")
    root = around / "root"
    (root / "etc").mkdir(parents=True)
    (around / "outside").mkdir()
    (around / "outside/victim").write_text("as it was")
    for name, (start, target) in links.items():
        start = f"{around}/" if start == "ABS" else start
        with contextlib.suppress(OSError):
            (root / name).symlink_to(start + target)
    before = tree(around / "outside")
    names = set(around.iterdir())
    inside = Inside(root)
    for work in (
        lambda: inside.write(f"/{path}", b"hurt", mode=0o777, owner=HERE, links=not append),
        lambda: inside.make_folder(f"/{path}", mode=0o777, owner=HERE),
        lambda: inside.read(f"/{path}"),
        lambda: inside.names(f"/{path}"),
        lambda: inside.status(f"/{path}"),
    ):
        with contextlib.suppress(errors.PathRefused, OSError):
            seen = work()
            assert seen != b"as it was"
    assert tree(around / "outside") == before
    assert set(around.iterdir()) == names
