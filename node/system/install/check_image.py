"""check-image: hold everything that will be installed against the signed kernel line.

The line names the checksum of `kairos/SHA256SUMS`, and the root hash. The recovery system's names
the root hash only: there the kernel has to start that root, and to be fit as that of an upgrade.
Boot files are copied into memory while they are hashed, so what was checked is what is installed: a
stick that answers differently the second time changes nothing. It may be done ahead, while the code
is on the screen and nobody has asked for anything yet (`check_ahead`).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import trio

from node.execute import Handler, Work
from node.steps import CheckImage
from node.system import medium
from node.system.board import kernel_words, mode
from node.system.booted import Booted, booted
from node.system.install.doors import Doors
from node.system.kernels import line_words, unfit
from node.system.reading import read
from pairing import errors
from pairing.facts import Image

LOG = logging.getLogger("kairos.node")
Log = Callable[[str], None]
Progress = Callable[[int, int], None]
SUMS = "kairos/SHA256SUMS"
RECOVERY = "recovery.efi"
BLOCK = 16 * 2**20
FILE_LIMIT = 512 * 2**20
"""Bytes of one boot file; it is held in memory."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of SHA256SUMS: hex checksum, and path from the ESP's root."""

    sha256: str
    path: str


def check_image(doors: Doors) -> Handler:
    """The handler of `CheckImage`."""

    async def handler(step: CheckImage, work: Work) -> None:
        async with doors.ahead.busy:
            image = doors.ahead.image or await _checked(doors, work.log, work.progress)
        _require_expected(doors.root, image, step)

    return handler


async def check_ahead(doors: Doors) -> None:
    """Check the medium now, so that `check-image` has nothing left to do.

    Never raises a known error: what is wrong is found again, and told, when it is asked for.
    """
    async with doors.ahead.busy:
        with contextlib.suppress(errors.KnownError, OSError):
            doors.ahead.image = await _checked(doors, LOG.debug, lambda done, total: None)


async def _checked(doors: Doors, log: Log, progress: Progress) -> Image:
    came_from = booted(doors.root)
    folder = await trio.to_thread.run_sync(medium.mounted, doors.root, doors.run)
    if came_from is None or folder is None:
        raise errors.ImageMissing
    image = await _stage(doors, folder, checked_sums(doors.root, folder), log)
    await _read_root(doors, came_from, progress)
    return image


def checked_sums(root: Path, folder: Path) -> tuple[Listed, ...]:
    """The files of the medium, from a list that the kernel line vouches for.

    The recovery system has no such word: against this list, what lies beside it is only checked for
    damage. Raises errors.ImageTampered.
    """
    data = read(folder / SUMS)
    wanted = medium.sums_word(root)
    if mode(root) == "live" and hashlib.sha256(data).hexdigest() != wanted:
        raise errors.ImageTampered(element=SUMS)
    return tuple(_lines(data))


def _lines(data: bytes) -> Iterator[Listed]:
    for line in data.decode("utf-8", "replace").splitlines():
        digest, _, name = line.partition("  ")
        path = PurePosixPath("kairos") / name.removeprefix("./")
        if len(digest) != 64 or not name or ".." in path.parts or name.startswith("/"):
            raise errors.ImageTampered("A line of it is not as sha256sum writes it.", element=SUMS)
        yield Listed(digest.lower(), str(path))


async def _stage(doors: Doors, folder: Path, listed: tuple[Listed, ...], log: Log) -> Image:
    """Copy all listed files into memory, then put those that boot where the ESP has them."""
    shutil.rmtree(doors.staging, ignore_errors=True)
    recovery = mode(doors.root) == "recovery"
    for one in listed:
        source = folder / one.path
        if recovery and not source.exists():
            if source.name != RECOVERY:
                continue  # keys for the firmware: they were for the first installation
            source = folder / "EFI/Linux" / RECOVERY
        to = doors.staging / "medium" / one.path
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = await trio.to_thread.run_sync(copied, source, to)
        if found != one.sha256:
            raise errors.ImageTampered(element=one.path)
        log(f"checked {one.path}")
    checked = doors.staging / "medium/kairos"
    image = medium.image_in(read(checked / "image.json"))
    if image is None:
        raise errors.ImageTampered("It cannot be understood.", element=medium.IMAGE_FILE)
    kernel = f"kr_{image.version}.efi"
    if recovery:
        await trio.to_thread.run_sync(_require_fit, doors.root, checked / kernel, image)
    for name in (kernel, RECOVERY):
        _put(checked / name, doors.boot_files / "EFI/Linux" / name)
    _put(checked / "loader.efi", doors.staging / "loader.efi")
    for name in (kernel, "loader.efi", "image.json"):
        _put(checked / name, doors.kept_files / name)
    shutil.copy(folder / SUMS, doors.kept_files / "SHA256SUMS")
    shutil.rmtree(doors.staging / "medium")
    return image


def _require_fit(root: Path, kernel: Path, image: Image) -> None:
    why = unfit(kernel, root)
    if not why and line_words(kernel).get("roothash", "").lower() != image.roothash:
        why = "It starts another root."
    if why:
        raise errors.ImageTampered(why, element=f"kairos/{kernel.name}")


def _put(source: Path, target: Path) -> None:
    """A second name for the same bytes: they are in memory, once."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise errors.ImageTampered("It is not there.", element=f"kairos/{source.name}") from None


def copied(source: Path, target: Path) -> str:
    """Copy a file; returns the hex SHA-256 of what was copied, empty if it cannot be read."""
    digest, size = hashlib.sha256(), 0
    try:
        with source.open("rb") as file, target.open("wb") as copy:
            while data := file.read(BLOCK):
                size += len(data)
                if size > FILE_LIMIT:
                    return ""
                digest.update(data)
                copy.write(data)
    except OSError:
        return ""
    return digest.hexdigest()


def _require_expected(root: Path, image: Image, step: CheckImage) -> None:
    """What was checked is what the plan, and the running kernel, mean."""
    if image.version != step.version:
        found = f"It holds version {image.version}, the plan is for {step.version}."
        raise errors.ImageTampered(found, element=medium.IMAGE_FILE)
    if image.roothash != kernel_words(root).get("roothash", "").lower() or not image.roothash:
        raise errors.ImageTampered("Its root hash is another.", element=medium.IMAGE_FILE)


async def _read_root(doors: Doors, came_from: Booted, progress: Progress) -> None:
    """Read every block of the root through dm-verity, which fails for any that is wrong."""
    with doors.at(came_from.root).open("rb", buffering=0) as device:
        total = device.seek(0, 2)
        device.seek(0)
        done = 0
        while done < total:
            count = await trio.to_thread.run_sync(partial(_read_block, device, done))
            done += count
            progress(done, total)


def _read_block(device: BinaryIO, offset: int) -> int:
    try:
        count = len(device.read(BLOCK))
    except OSError as wrong:
        where = f"At byte {offset}: {wrong.strerror}."
        raise errors.ImageTampered(where, element="root file system") from None
    if not count:
        raise errors.ImageTampered(f"It ends at byte {offset}.", element="root file system")
    return count
