"""A shop in a test: one machine, its operator, the config that it is given, and what they do.

with shop.live(stick) as machine:                   # until its code is on the screen
    photo = shop.photo(machine)
    with shop.register(photo, "--wait", "installed") as run:
        run.end(600)
    shop.on("hostname")                             # over ssh, as the config's user
    shop.keep(folder, machine)                      # for branches of the story
...
other = Shop.kept(folder, network, elsewhere)       # the same machine, switched off
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from pairing import errors, process
from pairing.testing import guest_system, qemu
from pairing.testing.box import Box, copy_files
from pairing.testing.firmware import Certificates
from pairing.testing.hardware import Drive, Firmware
from pairing.testing.lan import Lan
from pairing.testing.operators import Operator, Run
from pairing.testing.patience import patient
from pairing.testing.photos import photograph

DISK = 6 << 30
CODE_SECONDS, FIND_SECONDS, SSH_SECONDS = 300.0, 240, 90.0
LOOK_SECONDS = 3.0
START_SECONDS, RECOVER_SECONDS = 420.0, 60.0
OPEN = "open"
LOCKED_CODE = re.compile(r"Read this code aloud: (E\d\d\d)")
NODE = "/opt/kairos-register/bin/kairos-node"
PHOTO = "photo.jpg"
USER = "ana"
"""Whom the config lets in: `PUBLIC` in its text becomes the public key of `on`."""
PLAIN = f"""#cloud-config
hostname: till-7
users:
  - name: {USER}
    groups: [admin]
    ssh_authorized_keys:
      - PUBLIC
install:
  device: auto
  encrypt: tpm2
"""
"""A config for whoever only needs an installed machine; more keys of `install` can follow."""


def board(tap: str, number: int) -> qemu.Hardware:
    """A small machine with a serial number that nobody can guess."""
    return qemu.Hardware(
        serial=f"E2E-{secrets.token_hex(4).upper()}",
        uuid=str(uuid.uuid4()),
        mac=f"52:54:00:00:00:{number:02x}",
        tap=tap,
        serial_lines=3,
    )


@dataclass(frozen=True, slots=True)
class Shop:
    """Who and what a story is about. Everything lies below `folder`."""

    network: Lan
    operator: Operator
    box: Box
    folder: Path

    @classmethod
    def new(
        cls,
        network: Lan,
        folder: Path,
        config: str,
        number: int,
        disks: tuple[int, ...] = (DISK,),
        keys: Certificates | None = None,
    ) -> Shop:
        """A new UEFI machine with a TPM and blank disks; `number`: its cable in `network`."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        hardware = replace(board(network.tap(number), number), firmware=Firmware.UEFI)
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/id"]
        process.run(keygen, seconds=30)
        public = (folder / "id.pub").read_text().strip()
        (folder / "config.yaml").write_text(config.replace("PUBLIC", public))
        box = Box.new(folder / "box", hardware, disks, keys)
        return cls(network, Operator(network.place, folder / "operator"), box, folder)

    @classmethod
    def kept(cls, source: Path, network: Lan, folder: Path, number: int) -> Shop:
        """A shop that `keep` has put into `source`, its machine switched off."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        copy_files(source.iterdir(), folder)
        known = json.loads((folder / "machine.json").read_text())
        network.lease(known["mac"], known.pop("address"))
        hardware = replace(board(network.tap(number), number), firmware=Firmware.UEFI, **known)
        box = Box(folder / "box", hardware, len(list((folder / "box").glob("disk-*.raw"))))
        return cls(network, Operator(network.place, folder / "operator"), box, folder)

    def keep(self, target: Path, machine: qemu.Machine) -> None:
        """Copy the shop as it is at this moment; its running machine notices nothing."""
        self.on("sudo -n sync")
        draft = target.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        with machine.paused(draft / "memory"):
            self.box.copy(draft / "box")
        for name in ("config.yaml", "id", "id.pub"):
            shutil.copy2(self.folder / name, draft / name)
        shutil.copytree(self.operator.folder, draft / "operator", symlinks=True)
        if (photo := machine.folder / PHOTO).exists():
            shutil.copy2(photo, draft / PHOTO)
        machine_words = asdict(self.box.hardware)
        known = {name: machine_words[name] for name in ("serial", "uuid", "mac")}
        known["address"] = self.network.address(self.box.hardware.mac)
        (draft / "machine.json").write_text(json.dumps(known))
        draft.rename(target)

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @contextlib.contextmanager
    def running(
        self,
        *media: Drive,
        words: Sequence[str] = (),
        credentials: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[qemu.Machine]:
        """The machine, switched on, until the end of the context. Words etc. as in Hardware."""
        entry = self.network.entry
        with self.box.running(*media, entry=entry, words=words, credentials=credentials) as machine:
            yield machine

    @contextlib.contextmanager
    def resumed(self, stick: Path) -> Iterator[qemu.Machine]:
        """A kept machine, as it ran when it was kept: no start, ssh answers at once.

        `stick`: the one that it was installed from, still in it.
        """
        memory = self.folder / "memory"
        with self.box.running(_medium(stick), entry=self.network.entry, memory=memory) as machine:
            yield machine

    @contextlib.contextmanager
    def live(self, stick: Path) -> Iterator[qemu.Machine]:
        """The machine, started from the stick, with a code and its address on the screen."""
        with self.running(_medium(stick)) as machine:
            self.wait_code(machine)
            yield machine

    def wait_code(self, machine: qemu.Machine, seconds: float = CODE_SECONDS) -> None:
        """Until a code with an address is on the screen; raises AssertionError."""
        deadline = time.monotonic() + patient(seconds)
        while not _shows_address(machine):
            assert time.monotonic() < deadline, machine.serial[0].text()[-2000:]
            time.sleep(LOOK_SECONDS)

    def wait_ssh(self, seconds: float) -> None:
        """Until the installed system lets the config's user in; raises AssertionError."""
        deadline = time.monotonic() + patient(seconds)
        while self.tried("true") is None:
            assert time.monotonic() < deadline, f"no ssh within {seconds:g} s"
            time.sleep(LOOK_SECONDS)

    def restart(self, seconds: float) -> None:
        """Restart the installed system, until it lets people in again; raises AssertionError."""
        asked = "cat /proc/sys/kernel/random/boot_id"
        before = self.on(asked)
        self.on("sudo -n systemctl --no-block reboot")
        deadline = time.monotonic() + patient(seconds)
        while self.tried(asked) in (None, before):
            assert time.monotonic() < deadline, f"not there again within {seconds:g} s"
            time.sleep(LOOK_SECONDS)

    def came_to(self, machine: qemu.Machine, seconds: float = START_SECONDS) -> str:
        """What the installed system's start came to: `OPEN`, or the code on its screen.

        Raises AssertionError.
        """
        deadline = time.monotonic() + patient(seconds)
        while True:
            said = machine.serial[0].text()
            if found := LOCKED_CODE.search(said):
                return found[1]
            if "volumes   open" in (self.tried(f"sudo -n {NODE} state") or ""):
                return OPEN
            assert time.monotonic() < deadline, said[-2000:]
            time.sleep(LOOK_SECONDS)

    def photo(self, machine: qemu.Machine, severity: int = 2) -> Path:
        """What the manager's telephone makes of the screen."""
        target = machine.folder / PHOTO
        with Image.open(machine.screen("photographed.png")) as clean:
            target.write_bytes(photograph(clean.convert("RGB"), severity=severity, seed=1))
        return target

    @contextlib.contextmanager
    def register(self, photo: Path, *options: str) -> Iterator[Run]:
        """`kairos-register` with the shop's config."""
        found = ("--timeout", str(round(patient(FIND_SECONDS))))
        with self.operator.register(photo, self.config, *found, *options) as run:
            yield run

    def recovery_key(self) -> bytes:
        """The escrowed key, as the operator takes it out; raises AssertionError."""
        target = self.folder / f"key-{secrets.token_hex(4)}"
        words = ("recover", self.box.hardware.serial, "--to", str(target))
        with self.operator.fleet(*words, log="recover.log") as run:
            assert run.end(RECOVER_SECONDS) == 0, run.end_of()
        return target.read_bytes().strip()

    def on(self, command: str, seconds: float = SSH_SECONDS, stdin: bytes = b"") -> str:
        """What the installed machine answers to `command`, typed by the config's user over ssh.

        Raises errors.CommandFailed, errors.CommandTimeout, and KeyError while it has no address.
        """
        address = self.network.address(self.box.hardware.mac)
        ssh = ["ssh", "-i", str(self.folder / "id"), "-o", "BatchMode=yes"]
        ssh += ["-o", f"ConnectTimeout={round(patient(10))}", "-o", "ServerAliveInterval=10"]
        ssh += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        ssh += ["-o", "LogLevel=ERROR", f"{USER}@{address}", command]
        argv = [*self.network.entry, *ssh]
        return process.run(argv, seconds=patient(seconds), stdin=stdin).text().strip()

    def tried(self, command: str) -> str | None:
        """The same; None where it does not answer: it restarts."""
        try:
            return self.on(command)
        except (errors.MissingError, KeyError):
            return None


def _medium(stick: Path) -> Drive:
    return Drive(image=stick, serial="STICK", read_only=True)


def _shows_address(machine: qemu.Machine) -> bool:
    try:
        return bool(guest_system.token_on_screen(machine).addresses)
    except Exception:  # no code yet, or the picture was taken while it was drawn
        return False
