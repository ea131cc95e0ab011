"""Sources and steps of an upgrade, carried out on a machine of files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from node.system.board import EFI_GLOBAL
from node.system.kernelimage import sections
from node.system.oci import open_artifact
from node.system.upgrading import last_check, last_upgrade
from node.testing.installed import DONE, FAILED, LABELS, InstalledMachine
from node.testing.kernels import KEY, kernel
from node.upgrade import carry_out, prepare, roll_back
from pairing import errors
from pairing.process import Result


def machine_at(root: Path, labels: Sequence[str] = LABELS) -> InstalledMachine:
    """Running 1.0.0; systemd-sysupdate writes a new boot entry."""
    machine = InstalledMachine(root, labels=labels)
    machine.write("usr/lib/kairos-register/pcr.pub", KEY)
    machine.write("boot/EFI/Linux/kr_1.0.0.efi", "k")
    machine.write("boot/EFI/Linux/kr_0.9.0.efi", "k")
    (root / "usr/local/.kairos").mkdir()

    def sysupdate(argv: Sequence[str], stdin: bytes) -> Result:
        machine.write(f"boot/EFI/Linux/kr_{argv[-1]}+3-0.efi", "k")
        return DONE

    machine.programs |= {
        "gpgv": lambda argv, stdin: DONE,
        "sync": lambda argv, stdin: DONE,
        "sfdisk": lambda argv, stdin: DONE,
        "/usr/lib/systemd/systemd-sysupdate": sysupdate,
    }
    return machine


def update_folder(folder: Path, version: str = "1.1.0", new: bytes = b"") -> Path:
    """Its files; `new` is the kernel, by default one that is fit."""
    folder.mkdir()
    lines = ""
    for kind in ("root", "verity", "efi"):
        data = (new or kernel()) if kind == "efi" else f"{kind} of {version}".encode()
        (folder / f"kr_{version}.{kind}").write_bytes(data)
        lines += f"{hashlib.sha256(data).hexdigest()}  kr_{version}.{kind}\n"
    (folder / "SHA256SUMS").write_text(lines)
    (folder / "SHA256SUMS.gpg").write_bytes(b"signature")
    return folder


def as_layout(files: Path, folder: Path) -> Path:
    """An OCI image layout whose layers are the files."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def keep(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    layers = [
        {**keep(path.read_bytes()), "annotations": {"org.opencontainers.image.title": path.name}}
        for path in sorted(files.iterdir())
    ]
    manifest = keep(json.dumps({"schemaVersion": 2, "layers": layers}).encode())
    tag = {"org.opencontainers.image.ref.name": "1.1.0"}
    index = {"manifests": [{**manifest, "annotations": tag}]}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("kind", ["folder", "oci", "oci with tag"])
def test_an_upgrade(tmp_path: Path, kind: str) -> None:
    machine = machine_at(tmp_path / "m")
    source = str(update_folder(tmp_path / "u"))
    if kind != "folder":
        layout = as_layout(tmp_path / "u", tmp_path / "o")
        source = f"oci:{layout}" + (":1.1.0" if kind == "oci with tag" else "")
    said: list[str] = []
    carry_out(prepare(source, "", machine.root, machine.run), said.append)
    left = sorted(path.name for path in (machine.root / "boot/EFI/Linux").iterdir())
    assert left == ["kr_1.0.0.efi", "kr_1.1.0+3-0.efi"]
    record = last_upgrade(machine.root)
    assert record is not None
    assert (record.before, record.version, record.reason) == ("1.0.0", "1.1.0", "")
    checked = last_check(machine.root)
    assert checked is not None
    assert checked.text(checked.at) == f"just now, {source}: 1.1.0 is there"
    assert "(the clock was changed)" in checked.text(0)
    what = "the kernel of version" if kind == "folder" else "version"
    assert said[0] == f"1/4 fetch-files: Fetch {what} 1.1.0 from {source}"
    assert [line.split()[1] for line in said[1:]] == [
        "check-kernel:",
        "remove-entry:",
        "write-slot:",
    ]
    assert not (machine.root / "usr/local/.kairos/upgrade").exists()


def test_a_list_of_another_key_changes_nothing(tmp_path: Path) -> None:
    machine = machine_at(tmp_path / "m")
    machine.programs["gpgv"] = lambda argv, stdin: FAILED
    with pytest.raises(errors.UpgradeRefused, match="not signed"):
        prepare(str(update_folder(tmp_path / "u")), "", machine.root, machine.run)
    assert (machine.root / "boot/EFI/Linux/kr_0.9.0.efi").exists()
    checked = last_check(machine.root)
    assert checked is not None
    assert checked.text(checked.at + 3 * 86400).startswith(f"3 days ago, {tmp_path / 'u'}: ")
    assert "not signed with a key of this image" in checked.reason


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (kernel(key=b"another"), "another key"),
        (kernel(cmdline=b"kairos.mode=live"), "not that of an installed"),
        (b"no kernel", "cannot be read"),
    ],
)
def test_a_kernel_that_would_not_do_changes_nothing(tmp_path: Path, new: bytes, why: str) -> None:
    require_refused(machine_at(tmp_path / "m"), update_folder(tmp_path / "u", new=new), why)


def test_a_kernel_that_this_firmware_refuses_changes_nothing(tmp_path: Path) -> None:
    """What fits which list of keys: `test_secure_boot.py`."""
    machine = machine_at(tmp_path / "m")
    machine.write(f"sys/firmware/efi/efivars/SecureBoot-{EFI_GLOBAL}", b"\6\0\0\0\1")
    unsigned = update_folder(tmp_path / "u", new=kernel(whole=True))
    require_refused(machine, unsigned, "would not start its kernel: it has no signature")


def require_refused(machine: InstalledMachine, source: Path, why: str) -> None:
    made = prepare(str(source), "", machine.root, machine.run)
    with pytest.raises(errors.KernelUnfit, match=why):
        carry_out(made, lambda line: None)
    left = sorted(path.name for path in (machine.root / "boot/EFI/Linux").iterdir())
    assert left == ["kr_0.9.0.efi", "kr_1.0.0.efi"]
    assert not machine.ran("/usr/lib/systemd/systemd-sysupdate")
    record = last_upgrade(machine.root)
    assert record is not None
    assert why in record.reason


def test_a_changed_blob_is_refused(tmp_path: Path) -> None:
    layout = as_layout(update_folder(tmp_path / "u"), tmp_path / "o")
    artifact = open_artifact(f"oci:{layout}", InstalledMachine(tmp_path / "m").run)
    digest, size = artifact.files["kr_1.1.0.root"]
    blob = layout / "blobs" / digest.replace(":", "/")
    blob.write_bytes(b"x" * size)
    with pytest.raises(errors.UpgradeRefused, match="does not match"):
        artifact.fetch("kr_1.1.0.root", tmp_path / "got", limit=10**6, seconds=10)
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("text", ["oci:/nowhere", "docker://registry.example/shop:1"])
def test_an_image_that_is_not_there(tmp_path: Path, text: str) -> None:
    machine = InstalledMachine(tmp_path / "m")
    machine.programs["curl"] = lambda argv, stdin: Result(22, b"", b"404")
    with pytest.raises(errors.UpgradeRefused):
        open_artifact(text, machine.run)


def test_a_registrys_token_is_no_argument(tmp_path: Path) -> None:
    machine = InstalledMachine(tmp_path / "m")
    challenge = 'www-authenticate: Bearer realm="https://auth.example/t",service="s",scope="p"\r\n'
    seen: list[bytes] = []

    def curl(argv: Sequence[str], stdin: bytes) -> Result:
        assert "CANARY" not in " ".join(argv)
        if "--head" in argv:
            return Result(0, challenge.encode(), b"")
        if argv[-1].startswith("https://auth.example/t?"):
            return Result(0, b'{"token": "CANARY"}', b"")
        seen.append(stdin)
        return Result(0, b'{"layers": []}', b"")

    machine.programs["curl"] = curl
    assert not open_artifact("docker://registry.example/shop:1", machine.run).files
    assert b"Authorization: Bearer CANARY" in seen[0]


def test_no_source_is_guessed(tmp_path: Path) -> None:
    machine = machine_at(tmp_path / "m")
    with pytest.raises(errors.UsageError):
        prepare("ftp://x/y", "", machine.root, machine.run)


def test_a_volume_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*anything: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    machine = machine_at(tmp_path / "m")
    source = str(update_folder(tmp_path / "u"))
    monkeypatch.setattr("node.upgrade.signed", full)
    with pytest.raises(errors.UpgradeFailed, match="No space left"):
        prepare(source, "", machine.root, machine.run)
    checked = last_check(machine.root)
    assert checked
    assert "No space left" in checked.reason


def test_a_password_in_an_address_is_kept_nowhere(tmp_path: Path) -> None:
    machine = machine_at(tmp_path / "m")
    with pytest.raises(errors.UsageError) as refused:
        prepare("https://shop:geheim@updates.example/x", "", machine.root, machine.run)
    assert "geheim" not in refused.value.sentence
    assert last_check(machine.root) is None


def test_rollback_is_one_rename(tmp_path: Path) -> None:
    labels = (
        *("KR_ESP", "KR_OEM", "kr_root_1.0.0", "kr_verity_1.0.0", "kr_root_0.9.0"),
        *("kr_verity_0.9.0", "kr_recovery", "kr_recovery_v", "KR_PERSISTENT"),
    )
    machine = InstalledMachine(tmp_path, labels=labels)
    for version in ("1.0.0", "0.9.0"):
        machine.write(f"boot/EFI/Linux/kr_{version}.efi", "k")
    assert roll_back(tmp_path, machine.run) == ("1.0.0", "0.9.0")
    left = sorted(path.name for path in (tmp_path / "boot/EFI/Linux").iterdir())
    assert left == ["kr_0.9.0.efi", "kr_1.0.0+0-0.efi"]
    assert roll_back(tmp_path, machine.run) == ("1.0.0", "0.9.0")  # said twice, done once
    (tmp_path / "boot/EFI/Linux/kr_0.9.0.efi").unlink()
    with pytest.raises(errors.UpgradeRefused, match="no other version"):
        roll_back(tmp_path, machine.run)


def test_sections_of_other_files(tmp_path: Path) -> None:
    for data in (b"", b"MZ", b"MZ" + bytes(100), b"\x7fELF" + bytes(100)):
        (tmp_path / "f").write_bytes(data)
        with pytest.raises(ValueError, match="not a kernel"):
            sections(tmp_path / "f", (".cmdline",))
