"""OCI images: what a layer hides, what is written can be read, what is damaged is refused."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from node.image import checks, initrd, oci
from node.image.bases import container
from node.image.recipe import Base, Recipe
from pairing import errors


def archive(path: Path, files: Mapping[str, str]) -> Path:
    """A layer: text is a file's content, `>x` a link to x, `=x` a hard link, `/` a folder."""
    with tarfile.open(path, "w") as out:
        for name, text in files.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.uid, entry.mode = 7, 0o640
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
            elif text[:1] in (">", "="):
                entry.type = tarfile.SYMTYPE if text[0] == ">" else tarfile.LNKTYPE
                entry.linkname = text[1:]
            else:
                entry.size = len(text)
            content = io.BytesIO(text.encode()) if entry.isreg() else None
            out.addfile(entry, content)
    return path


def flat(folder: Path, *layers: Mapping[str, str]) -> dict[str, str]:
    """What is left of the layers: content, or `>target`; folders have `/`."""
    paths = [archive(folder / f"{number}.tar", files) for number, files in enumerate(layers)]
    oci.flatten(paths, folder / "flat.tar")
    found: dict[str, str] = {}
    with tarfile.open(folder / "flat.tar") as opened:
        for member in opened:
            assert member.name not in found
            content = opened.extractfile(member) if member.isreg() else None
            text = content.read().decode() if content else f">{member.linkname}"
            found[member.name + ("/" if member.isdir() else "")] = "" if member.isdir() else text
            assert member.uid == 7
    return found


def test_later_layers_win(tmp_path: Path) -> None:
    assert flat(tmp_path, {"a/": "", "a/x": "1", "b": "2"}, {"./a/x": "3"}) == {
        "a/": "",
        "a/x": "3",
        "b": "2",
    }


@pytest.mark.parametrize(
    ("upper", "left"),
    [
        ({"a/.wh.x": ""}, {"a/", "a/y", "ab"}),
        ({".wh.a": ""}, {"ab"}),
        ({"a/": "", "a/.wh..wh..opq": "", "a/new": "n"}, {"a/", "a/new", "ab"}),
        ({"a": "a file now"}, {"a", "ab"}),
        ({".wh.a": "", "a/": "", "a/z": "z"}, {"a/", "a/z", "ab"}),
        ({".wh..wh..opq": "", "only": ""}, {"only"}),
    ],
)
def test_what_a_layer_hides_is_gone(
    tmp_path: Path, upper: Mapping[str, str], left: set[str]
) -> None:
    lower = {"a/": "", "a/x": "1", "a/y": "2", "ab": "3"}
    assert set(flat(tmp_path, lower, upper)) == left


def test_a_hard_link_outlives_its_other_name(tmp_path: Path) -> None:
    assert flat(tmp_path, {"x": "same", "y": "=x"}, {".wh.x": ""}) == {"y": "same"}


def test_an_image_that_is_written_can_be_read(tmp_path: Path) -> None:
    layer = archive(tmp_path / "root.tar", {"etc/": "", "etc/motd": "hello"})
    oci.write_image(tmp_path / "image", layer, {"made": "here"}, "base")
    layout = oci.Layout(tmp_path / "image")
    assert [path.read_bytes() for path in layout.layers()] == [layer.read_bytes()]
    assert layout.labels() == {"made": "here"}
    oci.pack(tmp_path / "image", tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as packed:
        assert {"oci-layout", "index.json"} <= set(packed.getnames())


def test_packed_layers_are_read_too(tmp_path: Path) -> None:
    plain = archive(tmp_path / "plain.tar", {"x": "1"})
    (tmp_path / "packed").write_bytes(gzip.compress(plain.read_bytes()))
    oci.flatten([tmp_path / "packed"], tmp_path / "flat.tar")
    with tarfile.open(tmp_path / "flat.tar") as opened:
        assert opened.getnames() == ["x"]


def test_an_artifact_names_its_files(tmp_path: Path) -> None:
    for name in ("kr_1.root", "SHA256SUMS"):
        (tmp_path / name).write_text(name)
    files = [tmp_path / "kr_1.root", tmp_path / "SHA256SUMS"]
    oci.write_artifact(tmp_path / "out", files, "application/x", "1")
    found = oci.Layout(tmp_path / "out").manifest()
    assert found["artifactType"] == "application/x"
    titles = {layer["annotations"][oci.TITLE]: layer for layer in found["layers"]}
    blob = oci.Layout(tmp_path / "out").blob(titles["kr_1.root"])
    assert blob.read_text() == "kr_1.root"


def test_a_damaged_or_foreign_image_is_refused(tmp_path: Path) -> None:
    layer = archive(tmp_path / "root.tar", {"x": "1"})
    oci.write_image(tmp_path / "image", layer, {}, "base")
    layout = oci.Layout(tmp_path / "image")
    (found,) = layout.layers()
    content = found.read_bytes()
    found.unlink()
    found.write_bytes(content[:-1] + b"x")
    with pytest.raises(errors.BaseUnsuitable, match="damaged"):
        layout.layers()
    found.unlink()
    with pytest.raises(errors.BaseUnsuitable, match="lacks"):
        layout.layers()
    with pytest.raises(errors.BaseUnsuitable, match="no OCI image"):
        oci.Layout(tmp_path).layers()
    index = json.loads((tmp_path / "image/index.json").read_text())
    index["manifests"][0]["platform"]["architecture"] = "arm64"
    (tmp_path / "image/index.json").write_text(json.dumps(index))
    with pytest.raises(errors.BaseUnsuitable, match="x86_64"):
        layout.layers()


def test_a_digest_never_names_a_path(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    with pytest.raises(errors.BaseUnsuitable):
        oci.Layout(tmp_path / "image").blob({"digest": "sha256:../../../secret"})


def test_a_base_says_all_that_it_lacks(tmp_path: Path) -> None:
    said = list(checks.missing(tmp_path))
    assert any("systemd (" in one for one in said)
    assert {"dracut", "cryptsetup", "Python 3.11 to 3.13"} <= set(said)
    assert "libtss2-esys.so.0" in said
    libraries = [f"usr/lib64/{name}" for name in initrd.TPM_LIBRARIES]
    there = (*checks.PROGRAMS, *libraries, "usr/lib/systemd/systemd", "usr/bin/python3.12")
    for place in there:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-6.1").touch()
    assert list(checks.missing(tmp_path)) == ["the kernel's drivers (/usr/lib/modules)"]
    (tmp_path / "usr/lib/modules/6.1").mkdir(parents=True)
    assert not list(checks.missing(tmp_path))
    assert initrd.tpm_libraries(tmp_path) == [f"/{place}" for place in libraries]


def test_another_content_is_another_base(tmp_path: Path) -> None:
    recipe = Recipe(version="1", base=Base(dockerfile="Dockerfile"), folder=tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM oci-archive:../base.tar\n")
    base = tmp_path.parent / "base.tar"
    base.write_text("one")
    first = container.identity(recipe)
    assert container.identity(recipe) == first
    base.write_text("two")
    assert container.identity(recipe) != first
    base.unlink()
    with pytest.raises(errors.SourceUnreadable):
        container.identity(recipe)
