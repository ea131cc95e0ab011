"""Accounts as text: what useradd would do, the same at every boot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.stages.accounts import FIRST, LAST, NO_PASSWORD, Accounts, Identity, Table
from node.stages.actions import EnsureUser
from pairing import errors, process
from tests.stages.conftest import GROUP, GSHADOW, PASSWD, SHADOW

HASH = "$6$rounds=100000$abcdefgh$" + "a" * 86


def accounts() -> Accounts:
    return Accounts(*(Table.read(text.encode()) for text in (PASSWD, SHADOW, GROUP, GSHADOW)))


def contents(of: Accounts) -> tuple[bytes, ...]:
    return tuple(table.content() for table in (of.passwd, of.shadow, of.group, of.gshadow))


def test_a_new_user() -> None:
    found = accounts()
    user = EnsureUser(name="ana", password=HASH, groups=("admin", "sudo"), full_name="Ana")
    assert found.ensure(user) == Identity(1000, 1000, "/home/ana")
    assert found.passwd.find("ana") == ["ana", "x", "1000", "1000", "Ana", "/home/ana", "/bin/bash"]
    assert found.shadow.content().decode().splitlines()[-1] == f"ana:{HASH}:19700:0:99999:7:::"
    assert found.group.content().decode().splitlines()[-3:] == [
        "sudo:x:27:ana",
        "ana:x:1000:",
        "admin:x:999:ana",
    ]
    assert "sudo:*::ana" in found.gshadow.content().decode()


NAMES = st.from_regex(r"[a-z_][a-z0-9_-]{0,8}", fullmatch=True)
USERS = st.builds(
    EnsureUser,
    name=NAMES,
    password=st.sampled_from(["", HASH]),
    locked=st.booleans(),
    groups=st.lists(NAMES, max_size=3).map(tuple),
    primary_group=st.sampled_from(["", "users", "root"]),
    full_name=st.sampled_from([None, "", "A B"]),
    system=st.booleans(),
)


@given(st.lists(USERS, max_size=5, unique_by=lambda user: user.name))
def test_twice_is_the_same_as_once(users: list[EnsureUser]) -> None:
    """Applied at every boot, and once more by hand: nothing moves."""
    once = accounts()
    first = [once.ensure(user) for user in users]
    before = contents(once)
    assert [once.ensure(user) for user in users] == first
    assert contents(once) == before
    people = [one.uid for one, user in zip(first, users, strict=True) if not user.system]
    fresh = [uid for uid in people if uid > 1]
    assert len(set(fresh)) == len(fresh)
    assert all(FIRST <= uid <= LAST for uid in fresh)
    assert contents(once)[0].startswith(PASSWD.encode()) or any(
        user.name in ("root", "daemon") for user in users
    )


def test_a_person_keeps_the_number_that_owns_the_home() -> None:
    """Another order of users, or a new image, must not give one person's files to another."""
    found = accounts()
    found.ensure(EnsureUser(name="new"))
    assert found.ensure(EnsureUser(name="old"), owner_of_home=1007).uid == 1007
    assert found.ensure(EnsureUser(name="third"), owner_of_home=1000).uid == 1001


@pytest.mark.parametrize("owner", [0, 33, 65534])
def test_a_home_of_somebody_else_gives_no_number(owner: int) -> None:
    assert accounts().ensure(EnsureUser(name="eve"), owner_of_home=owner).uid == FIRST


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (EnsureUser(name="a"), NO_PASSWORD),
        (EnsureUser(name="a", locked=True, password=HASH), NO_PASSWORD),
        (EnsureUser(name="a", password=HASH), HASH),
        (EnsureUser(name="root", password=HASH), HASH),
    ],
)
def test_passwords(user: EnsureUser, expected: str) -> None:
    found = accounts()
    found.ensure(user)
    line = found.shadow.find(user.name)
    assert line is not None
    assert line[1] == expected
    assert HASH not in repr(user)
    assert HASH not in repr(found)


@pytest.mark.parametrize(
    "user",
    [
        EnsureUser(name="a:b"),
        EnsureUser(name="a", full_name="x\nroot2::0:0::/root:/bin/sh"),
        EnsureUser(name="a", home="/home/a:0"),
        EnsureUser(name="a", shell="/bin/sh\n"),  # noqa: S604 (a login shell)
        EnsureUser(name="a", groups=("x,y",)),
        EnsureUser(name="a", groups=("",)),
        EnsureUser(name="a", password="plain"),
        EnsureUser(name="a", password=f"{HASH}:0:0"),
        EnsureUser(name="a", uid=0),
        EnsureUser(name="daemon", uid=7),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(user: EnsureUser) -> None:
    found = accounts()
    with pytest.raises(errors.AccountInvalid):
        found.ensure(user)
    assert contents(found) == contents(accounts())


def test_lines_of_others_stay_as_they_are() -> None:
    odd = b"+nis::::::\n# note\n\nroot:x:0:0:r\xff:/root:/bin/sh\n"
    assert Table.read(odd).content() == odd


@pytest.mark.skipif(not shutil.which("pwck"), reason="pwck is not here")
def test_the_system_finds_nothing_wrong_with_the_files(tmp_path: Path) -> None:
    """pwck(8) and grpck(8) judge: a second opinion that knows nothing of ours."""
    found = accounts()
    found.ensure(EnsureUser(name="ana", password=HASH, groups=("admin", "docker")))
    found.ensure(EnsureUser(name="svc", system=True, primary_group="docker"))
    names = ("passwd", "shadow", "group", "gshadow")
    for name, content in zip(names, contents(found), strict=True):
        (tmp_path / name).write_bytes(content)
    files = [str(tmp_path / name) for name in names]
    # Members, groups and homes are looked up in this machine, not in the files: only form counts.
    for argv in (["grpck", "-r", *files[2:]], ["pwck", "-qr", *files[:2]]):
        printed = process.run(argv, seconds=10, check=False).text()
        assert [line for line in printed.splitlines() if "invalid" in line] == []


@pytest.mark.skipif(not shutil.which("pwck"), reason="pwck is not here")
def test_control_the_system_does_find_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "group").write_text(f"{GROUP}half:x\n")
    (tmp_path / "gshadow").write_text(GSHADOW)
    argv = ["grpck", "-r", str(tmp_path / "group"), str(tmp_path / "gshadow")]
    assert "invalid" in process.run(argv, seconds=10, check=False).text()
