"""What is ours in an image: units enabled, kernel lines, layers laid over one another."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from node import settings
from node.image import initrd, layers, product, uki
from node.image.layers import Layer
from node.image.recipe import ImageFile, Recipe
from node.image.uki import Mode
from node.partition import VERSION

RECIPE = Recipe(version="1.0.0", fleets=(), relays=(), language="fr")


def test_the_command_is_where_a_shell_and_sudo_look_for_it() -> None:
    made = product.layer(RECIPE, b"", b"")
    assert made.links["usr/bin/kairos-node"] == "/opt/kairos-register/bin/kairos-node"


def test_a_file_of_the_recipe_takes_the_place_of_a_link_of_ours(tmp_path: Path) -> None:
    theirs = ImageFile(path="/usr/bin/kairos-node", content="theirs", mode=0o755)
    made = product.layer(replace(RECIPE, files=(theirs,)), b"", b"")
    made.write(tmp_path / "a.tar", 0)
    with tarfile.open(tmp_path / "a.tar") as archive:
        found = [entry for entry in archive if entry.name == "usr/bin/kairos-node"]
    assert [entry.isreg() for entry in found] == [True]


def test_every_unit_of_ours_is_there_and_enabled_as_it_says() -> None:
    made = product.layer(replace(RECIPE, flavour="standard"), b"", b"")
    units = {entry.name for entry in product.UNITS.iterdir() if entry.is_file()}
    kinds = ("system", "network")
    assert all(any(f"usr/lib/systemd/{k}/{u}" in made.files for k in kinds) for u in units)
    folder = "etc/systemd/system"
    wanted = f"{folder}/basic.target.wants/kairos-node.service"
    assert made.links[wanted] == "/usr/lib/systemd/system/kairos-node.service"
    assert f"{folder}/boot-complete.target.requires/kairos-health.service" in made.links
    assert f"{folder}/k3s.service" not in made.links
    assert any(
        name.startswith("usr/lib/systemd/system/emergency.service.d/") for name in made.files
    )


def test_the_resolver_answers_nobody_else() -> None:
    text = product.layer(RECIPE, b"", b"").files["etc/systemd/resolved.conf.d/10-quiet.conf"][0]
    assert {b"LLMNR=no", b"MulticastDNS=no"} <= set(text.split())


def test_nobody_makes_a_second_name_for_a_file_of_somebody_else() -> None:
    """Such a name in a home would be read and written by root as the person's own."""
    text, _mode = product.layer(RECIPE, b"", b"").files["usr/lib/sysctl.d/10-links.conf"]
    assert b"fs.protected_hardlinks = 1" in text.splitlines()


def test_only_the_flavour_standard_has_units_of_k3s_and_of_meeting() -> None:
    units = ("k3s", "k3s-agent", "kairos-relay", "kairos-mdns")
    for flavour, wanted in (("core", 0), ("standard", len(units))):
        made = product.layer(replace(RECIPE, flavour=flavour), b"", b"")
        there = [f"usr/lib/systemd/system/{unit}.service" in made.files for unit in units]
        assert sum(there) == wanted
        started = [name for name in made.links if Path(name).stem in units]
        assert not started, "a provider starts them"


def test_nothing_that_is_needed_is_masked() -> None:
    made = product.layer(RECIPE, b"", b"")
    masked = {Path(name).name for name, to in made.links.items() if to == "/dev/null"}
    enabled = {Path(name).name for name, to in made.links.items() if to != "/dev/null"}
    assert masked
    assert not masked & enabled


def test_the_settings_are_what_the_node_reads(tmp_path: Path) -> None:
    made = product.layer(RECIPE, b"", b"")
    data, _mode = made.files["etc/kairos-register/node.yaml"]
    (tmp_path / "node.yaml").write_bytes(data)
    assert settings.read(tmp_path / "node.yaml").language == "fr"


def test_public_keys_and_files_of_the_recipe_come_in(tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("hello")
    recipe = Recipe(
        version="1.0.0",
        files=(ImageFile(path="/etc/motd", source="motd", mode=0o600),),
        persistent=("/srv",),
        folder=tmp_path,
    )
    made = product.layer(recipe, b"pcr", b"update")
    assert made.files["etc/motd"] == (b"hello", 0o600)
    assert made.files["usr/lib/kairos-register/pcr.pub"][0] == b"pcr"
    assert made.files["usr/lib/systemd/import-pubring.gpg"][0] == b"update"
    kept = made.files["usr/lib/kairos-register/persistent.conf"][0].decode().split()
    assert "/srv" in kept
    assert "/opt" not in kept, "the program lies there"
    body = json.loads(made.files["usr/lib/kairos-register/image.json"][0])
    assert (body["version"], body["arch"]) == ("1.0.0", "x86_64")
    assert VERSION.fullmatch(body["version"])


@pytest.mark.parametrize("mode", list(Mode))
def test_kernel_lines_name_mode_root_and_labels(mode: Mode) -> None:
    words = uki.kernel_line(RECIPE, mode, "ab" * 32, ("kairos.sums=x",)).split()
    data, hashes = uki.labels(mode, "1.0.0")
    assert f"kairos.mode={mode.value}" in words
    assert f"systemd.verity_root_data=PARTLABEL={data}" in words
    assert f"systemd.verity_root_hash=PARTLABEL={hashes}" in words
    assert words[-1] == "kairos.sums=x"
    # What no register measures and whoever has the machine can add, is not used.
    assert {"systemd.import_credentials=no", "systemd.gpt_auto=no", "systemd.swap=no"} <= set(words)
    assert len({uki.labels(each, "1.0.0") for each in Mode}) == len(Mode)


def test_the_recovery_system_sorts_behind_every_slot() -> None:
    """systemd-boot sorts by IMAGE_ID first (its name begins with that of the slots)."""
    slots = product.os_release(RECIPE, "kr")
    assert "IMAGE_ID=kr\n" in slots
    assert "IMAGE_ID=kr-recovery\n" in product.os_release(RECIPE, "kr-recovery")


def test_later_layers_win_and_prefixes_count_for_the_first_only(tmp_path: Path) -> None:
    base, ours = Layer(), Layer()
    base.file("etc/motd", "theirs")
    base.file("boot/vmlinuz", "kernel")
    base.folder("boot")
    base.link("etc/os-release", "../usr/lib/os-release")
    ours.file("etc/motd", "ours", 0o600)
    ours.file("boot/ours", "kept")
    base.write(tmp_path / "a.tar", 1000)
    ours.write(tmp_path / "b.tar", 1000)
    layers.merge(
        [tmp_path / "a.tar", tmp_path / "b.tar"],
        tmp_path / "c.tar",
        epoch=500,
        leave_out=("boot/",),
    )
    with tarfile.open(tmp_path / "c.tar") as merged:
        names = merged.getnames()
        assert sorted(names) == sorted(set(names))
        assert "boot/vmlinuz" not in names
        assert {"boot", "boot/ours", "etc/os-release"} <= set(names)
        motd = merged.extractfile("etc/motd")
        assert motd is not None
        assert motd.read() == b"ours"
        assert all(member.mtime == 500 for member in merged)
        assert all((member.uid, member.gid) == (0, 0) for member in merged)


def merged_over_usr(tmp_path: Path, *later: Layer) -> dict[str, tarfile.TarInfo]:
    """Layers over a base as Debian has it: /lib and /bin are links into /usr."""
    base = Layer()
    base.folder("usr/lib")
    base.file("usr/bin/sh", "shell", 0o755)
    base.link("lib", "usr/lib")
    base.link("bin", "/usr/bin")
    base.link("etc/os-release", "../lib/os-release")
    for number, layer in enumerate((base, *later)):
        layer.write(tmp_path / f"{number}.tar", 0)
    parts = [tmp_path / f"{number}.tar" for number in range(len(later) + 1)]
    layers.merge(parts, tmp_path / "whole.tar", epoch=0)
    with tarfile.open(tmp_path / "whole.tar") as merged:
        found = merged.getmembers()
    assert len({member.name for member in found}) == len(found)
    return {member.name: member for member in found}


def test_what_is_put_below_a_link_of_the_base_goes_where_it_leads(tmp_path: Path) -> None:
    ours, last = Layer(), Layer()
    ours.file("lib/systemd/system/mine.service", "unit")
    ours.file("bin/tool", "program", 0o755)
    ours.file("etc/os-release", "ours")
    last.file("usr/lib/systemd/system/mine.service", "changed")
    found = merged_over_usr(tmp_path, ours, last)
    assert found["lib"].issym()
    assert found["bin"].issym()
    assert {"usr/bin/sh", "usr/bin/tool", "usr/lib/systemd/system/mine.service"} <= set(found)
    assert found["usr/lib/systemd/system/mine.service"].size == len("changed")
    assert found["etc/os-release"].isreg(), "a link itself can be replaced"


def test_a_later_layer_may_bring_a_link_in_place_of_a_file(tmp_path: Path) -> None:
    ours, last = Layer(), Layer()
    ours.link("srv", "data")
    ours.folder("data")
    last.file("srv/x", "x")
    assert "data/x" in merged_over_usr(tmp_path, ours, last)


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    ours, last = Layer(), Layer()
    ours.link("a", "b")
    ours.link("b", "a")
    last.file("a/x", "x")
    with pytest.raises(tarfile.TarError, match="circle"):
        merged_over_usr(tmp_path, ours, last)


def test_the_same_layer_is_the_same_archive(tmp_path: Path) -> None:
    for name, order in (("a", ("x", "y")), ("b", ("y", "x"))):
        made = Layer()
        for path in order:
            made.file(path, path)
        made.write(tmp_path / name, 7)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_hard_links_become_files_and_devices_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("./one")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"abc"))
        linked = tarfile.TarInfo("./two")
        linked.type, linked.linkname = tarfile.LNKTYPE, "./one"
        archive.addfile(linked)
        device = tarfile.TarInfo("./dev")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    layers.merge([tmp_path / "a.tar"], tmp_path / "b.tar", epoch=0)
    with tarfile.open(tmp_path / "b.tar") as merged:
        two = merged.extractfile("two")
        assert two is not None
        assert two.read() == b"abc"
        assert sorted(merged.getnames()) == ["one", "two"]


def test_what_an_image_says_of_itself_is_in_the_reference() -> None:
    assert list(product.described(RECIPE)) == list(product.IMAGE_JSON)


def packed(path: Path, *members: tuple[str, bytes, str]) -> Path:
    """An archive of these: name, kind of tarfile's, and what is in it or where it leads."""
    with tarfile.open(path, "w") as out:
        for name, kind, text in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.uid, entry.mode = kind, 7, 0o4555
            if kind == tarfile.REGTYPE:
                entry.size = len(text)
            entry.linkname = "" if kind == tarfile.REGTYPE else text
            out.addfile(entry, io.BytesIO(text.encode()) if entry.size else None)
    return path


def test_a_tree_is_unpacked_as_whoever_does_it(tmp_path: Path) -> None:
    archive = packed(
        tmp_path / "a.tar",
        ("./", tarfile.DIRTYPE, ""),
        ("./a", tarfile.DIRTYPE, ""),
        ("./a/file", tarfile.REGTYPE, "one"),
        ("./a/link", tarfile.SYMTYPE, "/etc/passwd"),
        ("./a/hard", tarfile.LNKTYPE, "./a/file"),
        ("./a/node", tarfile.CHRTYPE, ""),
        ("./a/file", tarfile.REGTYPE, "two"),
    )
    layers.unpack(archive, tmp_path / "tree")
    folder = tmp_path / "tree/a"
    assert sorted(entry.name for entry in folder.iterdir()) == ["file", "hard", "link"]
    assert [(folder / name).read_text() for name in ("file", "hard")] == ["two", "one"]
    assert (folder / "file").stat().st_uid == os.geteuid()
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o555, "nobody is somebody else by it"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "members",
    [
        (("../out", tarfile.REGTYPE, "x"),),
        (("/out", tarfile.REGTYPE, "x"),),
        (("a", tarfile.SYMTYPE, ".."), ("a/out", tarfile.REGTYPE, "x")),
        (
            ("a", tarfile.SYMTYPE, "../out"),
            ("a", tarfile.REGTYPE, "x"),
            ("..", tarfile.DIRTYPE, ""),
        ),
        (("a", tarfile.LNKTYPE, "../secret"),),
        (("b", tarfile.SYMTYPE, ".."), ("a", tarfile.LNKTYPE, "b/secret")),
    ],
)
def test_no_archive_leads_out_of_its_tree(
    tmp_path: Path, members: tuple[tuple[str, bytes, str], ...]
) -> None:
    (tmp_path / "secret").write_text("s")
    with pytest.raises(tarfile.TarError):
        layers.unpack(packed(tmp_path / "a.tar", *members), tmp_path / "tree")
    assert not (tmp_path / "out").exists()


def test_a_file_takes_the_place_of_a_link_not_of_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    archive = packed(
        tmp_path / "a.tar", ("a", tarfile.SYMTYPE, "../secret"), ("a", tarfile.REGTYPE, "x")
    )
    layers.unpack(archive, tmp_path / "tree")
    assert (tmp_path / "secret").read_text() == "s"
    assert (tmp_path / "tree/a").read_text() == "x"


def test_a_failure_in_the_initrd_has_units_that_end_it() -> None:
    assert "systemd-emergency" in initrd.MODULES
    assert any("emergency.service.d/" in path for path in initrd.files())
    assert not set(initrd.MODULES) & set(initrd.LEFT_OUT)


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        (("6.12.99+deb13-amd64", "6.12.118+deb13-amd64"), "6.12.118+deb13-amd64"),
        (("6.12.57+deb13-cloud-amd64", "6.12.57+deb13-amd64"), "6.12.57+deb13-amd64"),
        (("6.12.58+deb13-cloud-amd64", "6.12.57+deb13-amd64"), "6.12.58+deb13-cloud-amd64"),
        (("6.9.7-200.fc40.x86_64", "6.10.3-200.fc40.x86_64"), "6.10.3-200.fc40.x86_64"),
        (("6.8.0-100-generic", "6.8.0-99-generic"), "6.8.0-100-generic"),
    ],
)
def test_the_newest_kernel_is_taken_and_of_two_the_one_for_all_hardware(
    tmp_path: Path, versions: tuple[str, ...], newest: str
) -> None:
    (tmp_path / "boot").mkdir()
    for version in versions:
        (tmp_path / f"boot/vmlinuz-{version}").touch()
    assert initrd.kernel_version(tmp_path) == newest
