"""The Python packages of an image are the same whoever's pip has fetched them."""

from __future__ import annotations

from pathlib import Path

from node.image import python


def test_nothing_tells_whose_pip_it_was(tmp_path: Path) -> None:
    metadata = tmp_path / "qrcode-8.2.dist-info"
    metadata.mkdir()
    for name in ("METADATA", "RECORD", "WHEEL"):
        (metadata / name).write_text("../../bin/qr,sha256=Mpbm1E\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/qr").write_text("#!/home/ana/.venv/bin/python\n")
    python.forget_run(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "METADATA", "WHEEL", "qrcode-8.2.dist-info",
    ]  # fmt: skip


def test_old_and_new_pips_write_the_same_metadata() -> None:
    assert "--use-pep517" in python.pip("3.13", Path("lock"), Path("site"))
