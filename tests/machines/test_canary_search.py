"""The search for secrets finds them in every form, and looks nowhere it should not."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairing import process
from pairing.testing.canaries import Canaries, forms

SECRET = "tok3n>of?the~cluster"
SEARCH = Canaries({"token": SECRET, "other": "canary-canary-canary"})


@given(st.binary(max_size=40), st.binary(max_size=40), st.text(min_size=12, max_size=40))
def test_a_secret_is_found_in_every_form_at_every_place(
    before: bytes, after: bytes, secret: str
) -> None:
    search = Canaries({"one": secret})
    around = before + secret.encode() + after
    for form in (
        around,
        base64.b64encode(around),
        base64.urlsafe_b64encode(around),
        around.hex().encode(),
        before + secret.encode("utf-16-le") + after,
        before + secret.encode("utf-16-be") + after,
    ):
        assert {found.name for found in search.in_bytes(form, "")} == {"one"}


def test_what_is_not_there_is_not_found() -> None:
    near = SECRET.replace("?", "!").encode()
    assert SEARCH.in_bytes(near + base64.b64encode(near) + near.hex().encode(), "") == set()


@pytest.mark.parametrize("place", [0, (1 << 22) - 7, (8 << 20) - len(SECRET), 5 << 20])
def test_a_secret_is_found_where_two_pieces_meet(tmp_path: Path, place: int) -> None:
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(8 << 20)
        file.seek((1 << 22) - 4096)
        file.write(b"x" * 8192)
        file.seek(place)
        file.write(SECRET.encode())
    (found,) = SEARCH.in_file(image)
    assert (found.name, found.form, found.where) == ("token", "plain", "disk")


def test_ranges_are_left_out_and_nothing_else(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(b"x" * 1000 + SECRET.encode() + b"x" * 1000)
    assert SEARCH.in_file(image, leave_out=[(1000, 1000 + len(SECRET))]) == set()
    assert SEARCH.in_file(image, leave_out=[(0, 1000), (1000 + len(SECRET), 5000)])
    assert SEARCH.in_file(image, leave_out=[(0, 5000)]) == set()


def test_trees_are_searched_with_names_and_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/log.json").write_text(json.dumps({"said": SECRET}))
    (tmp_path / "canary-canary-canary").touch()
    (tmp_path / "link").symlink_to(f"/nowhere/{SECRET}")
    found = {(one.name, one.where) for one in SEARCH.in_tree(tmp_path)}
    assert found == {
        ("token", "a/log.json"),
        ("other", "name of canary-canary-canary"),
        ("token", "link"),
    }


def test_short_secrets_would_be_found_by_chance() -> None:
    with pytest.raises(ValueError, match="pin"):
        Canaries({"pin": "1234"})
    assert len({pattern for _, pattern in forms("a" * 12)}) >= 7


@pytest.mark.root  # the Debian packages of make e2e
def test_what_is_compressed_is_searched(tmp_path: Path) -> None:
    """The control: the compressed bytes themselves say nothing."""
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/config").write_text(SECRET * 50)
    argv = ["mksquashfs", str(tmp_path / "root"), str(tmp_path / "squash"), "-no-progress"]
    process.run([*argv, "-comp", "gzip"], seconds=30)
    image = tmp_path / "disk"
    image.write_bytes(bytes(4096) + (tmp_path / "squash").read_bytes())
    assert SEARCH.in_file(image) == set()
    assert {found.where for found in SEARCH.in_squashfs(image, 4096)} == {"etc/config"}
    assert SEARCH.in_squashfs(image) == set()


@pytest.mark.root  # the Debian packages of make e2e
def test_a_disk_is_searched_but_for_the_data_of_encrypted_volumes(tmp_path: Path) -> None:
    """Their headers too; a volume that is not encrypted is searched like everything else."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    made = ["sgdisk", "--clear", "--new=1:2048:+20M", "--new=2:0:+20M", str(image)]
    process.run(made, seconds=30)
    first, second = 2048 * 512, (2048 * 512) + (20 << 20)

    def found_with(start: bytes, at: int) -> set[str]:
        with image.open("r+b") as file:
            file.seek(first)
            file.write(start.ljust(8, b"\0"))
            file.seek(at)
            file.write(SECRET.encode())
        found = {one.form for one in SEARCH.on_disk(image)}
        with image.open("r+b") as file:
            file.seek(at)
            file.write(bytes(len(SECRET)))
        return found

    luks = b"LUKS\xba\xbe"
    behind, header = first + (17 << 20), first + (1 << 20)
    assert found_with(luks, behind) == set()
    assert found_with(luks, header) == {"plain"}
    assert found_with(luks, second) == {"plain"}
    assert found_with(b"ext4", behind) == {"plain"}
