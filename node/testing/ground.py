"""A machine that was booted from our medium, as files below a folder, with recorded programs.

For tests of `node.system.install`: every program that is called is written down and answered from a
table; everything else is done for real, on plain files instead of devices.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.execute import ProvedVolume, Work
from node.recoverykey import RecoveryKey
from node.steps import Plan
from node.system.install.check_machine import FOR_TANG, FOR_TPM, FOR_VOLUMES, PROGRAMS
from node.system.install.doors import Doors
from pairing import errors
from pairing.process import Result

MIB = 2**20
ROOT_HASH = "6f" * 32
MEDIUM = ("KR_LIVE", "kr_live", "kr_live_v")
DISK = (
    "KR_ESP", "KR_OEM", "kr_root_1.0.0", "kr_verity_1.0.0", "_empty", "_empty", "kr_recovery",
    "kr_recovery_v", "KR_PERSISTENT",
)  # fmt: skip
CHECKED = (*PROGRAMS, *FOR_VOLUMES, *FOR_TPM, *FOR_TANG)
"""Programs that an installation looks for."""
FILES: Mapping[str, bytes] = {
    "kr_1.0.0.efi": b"MZ installed" * 999,
    "recovery.efi": b"MZ recovery" * 999,
    "loader.efi": b"MZ loader" * 99,
    "keys/db.auth": b"db",
}
IMAGE = {
    "schema": 1,
    "id": "kr",
    "version": "1.0.0",
    "arch": "x86_64",
    "sizes": {"root": 3 * MIB, "verity": 4096, "kernel": 11988},
    "roothash": ROOT_HASH,
    "secure_boot": "off",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a program."""

    argv: tuple[str, ...]
    stdin: bytes = field(repr=False, default=b"")
    environment: Mapping[str, str] = field(default_factory=dict)


UUID = "0b6f2f7e-5c3d-4d8f-9c3b-3f2f6d7a1e11"
HEADER = b"LUKS\xba\xbe".ljust(168, b"\0") + UUID.encode().ljust(40, b"\0")
"""The beginning of a LUKS2 volume."""
Answer = Result | Callable[[Call], Result]
DONE = Result(0, b"", b"")


@dataclass(slots=True)
class Programs:
    """Answers by the program's name, or by name and first option; others end well, saying nothing.

    None: that program is not installed.
    """

    answers: dict[str, Answer | None] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def __call__(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Result:
        """See `pairing.process.run`."""
        assert seconds > 0
        call = Call(tuple(argv), stdin, dict(environment or {}))
        self.calls.append(call)
        words = [" ".join(argv[:count]) for count in range(min(3, len(argv)), 0, -1)]
        answer = next((self.answers[name] for name in words if name in self.answers), DONE)
        if answer is None:
            raise errors.CommandMissing(element=argv[0])
        result = answer if isinstance(answer, Result) else answer(call)
        if check and result.status != 0:
            raise errors.CommandFailed(f"Status {result.status}", element=argv[0])
        return result

    def called(self, name: str) -> list[tuple[str, ...]]:
        """The command lines of one program, in order."""
        return [call.argv for call in self.calls if call.argv[0] == name]


@dataclass(slots=True)
class Ground:
    """The machine: `root` is its file tree. `logged`, `reported`, `proved`: what steps say."""

    root: Path
    programs: Programs = field(default_factory=Programs)
    key: RecoveryKey = field(default_factory=RecoveryKey.new)
    logged: list[str] = field(default_factory=list)
    reported: list[tuple[int, int]] = field(default_factory=list)
    proved: list[ProvedVolume] = field(default_factory=list)
    on_progress: Callable[[], None] = lambda: None
    mounts: dict[str, str] = field(default_factory=lambda: {"/": "squashfs", "/run": "tmpfs"})

    def __post_init__(self) -> None:
        self.plant_mounts()
        self._plant_medium()
        self.plant_disk()
        for program in CHECKED:
            self.write(f"usr/bin/{program}", b"")

    @property
    def doors(self) -> Doors:
        """For handlers."""
        return Doors(run=self.programs, root=self.root)

    def work(self, plan: Plan) -> Work:
        """What a handler is given."""

        def progress(done: int, total: int) -> None:
            self.reported.append((done, total))
            self.on_progress()

        return Work(plan, progress, self.logged.append, self.proved.append, self.key)

    @property
    def medium(self) -> Path:
        """Where the medium's ESP is mounted."""
        return self.root / "run/kairos-register/medium"

    # --- what is planted ------------------------------------------------------------------------

    def write(self, path: str, data: bytes | str) -> Path:
        """A file of the machine."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        return file

    def plant_mounts(self, options: str = "rw") -> None:
        """The mount table as `mounts` says."""
        lines = [
            f"{number} 1 0:{number} / {where} {options} shared:1 - {kind} none rw"
            for number, (where, kind) in enumerate(self.mounts.items(), start=20)
        ]
        self.write("proc/self/mountinfo", "\n".join(lines) + "\n")

    def plant_words(self, *words: str, mode: str = "live") -> None:
        """The kernel line."""
        sums = hashlib.sha256((self.medium / "kairos/SHA256SUMS").read_bytes()).hexdigest()
        named = "systemd.verity_root_{}=PARTLABEL={}"
        line = [f"roothash={ROOT_HASH}", f"kairos.mode={mode}", f"kairos.sums={sums}"]
        line += [named.format("data", MEDIUM[1]), named.format("hash", MEDIUM[2]), *words]
        self.write("proc/cmdline", " ".join(line) + "\n")

    def plant_parts(self, disk: str, labels: Sequence[str]) -> None:
        """A disk's partitions in sysfs."""
        for number, label in enumerate(labels, start=1):
            folder = f"sys/block/{disk}/{disk}{number}"
            self.write(f"{folder}/partition", f"{number}\n")
            self.write(f"{folder}/dev", f"254:{ord(disk[-1]) * 16 + number}\n")
            uevent = f"DEVNAME={disk}{number}\nDEVTYPE=partition\nPARTN={number}\n"
            self.write(f"{folder}/uevent", f"{uevent}PARTNAME={label}\n")

    def plant_disk(self, labels: Sequence[str] = DISK) -> None:
        """The target disk, as it is once it was written."""
        self.plant_parts("vda", labels)
        self.write("sys/block/vda/stat", "1 0 8 1 1 0 2048 1 0 1 1 0 0 0 0 0 0\n")
        for number in range(len(labels) + 1):
            self.write(f"dev/vda{number or ''}", HEADER + bytes(64 * 1024))

    def _plant_medium(self) -> None:
        self.plant_parts("vdb", MEDIUM)
        for name in ("vdb2", "vdb3"):
            (self.root / "sys/block/dm-0/slaves" / name).mkdir(parents=True)
        self.write("sys/block/dm-0/dm/name", "root\n")
        self.write("sys/block/dm-0/dm/uuid", f"CRYPT-VERITY-{ROOT_HASH[:32]}-root\n")
        self.write("dev/mapper/root", bytes(3 * MIB))
        files = {**FILES, "image.json": json.dumps(IMAGE).encode()}
        for name, data in files.items():
            self.write(f"run/kairos-register/medium/kairos/{name}", data)
        sums = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in files.items()]
        self.write("run/kairos-register/medium/kairos/SHA256SUMS", "\n".join(sums) + "\n")
        self.plant_words()


# --- programs that answer as on a machine that works --------------------------------------------

METADATA = json.dumps(
    {
        "keyslots": {
            "0": {"type": "luks2", "area": {"offset": "4096", "size": "8192"}},
            "1": {"type": "luks2", "area": {"offset": "12288", "size": "8192"}},
        },
        "tokens": {
            "0": {
                "type": "systemd-tpm2",
                "keyslots": ["1"],
                "tpm2-hash-pcrs": [7, 12, 15],
                "tpm2-pubkey-pcrs": [11],
            }
        },
    }
)
LSBLK = {
    "blockdevices": [
        {"name": "vda", "path": "/dev/vda", "type": "disk", "size": 17179869184, "log-sec": 512}
    ]
}


def sealing(call: Call) -> Result:
    """A program that encrypts by adding a mark, and decrypts by taking it away."""
    if "decrypt" in call.argv:
        return Result(0, call.stdin.removeprefix(b"sealed "), b"")
    return Result(0, b"sealed " + call.stdin, b"")


@dataclass(slots=True)
class FirmwareModel:
    """Boot entries as a firmware keeps them; answers efibootmgr(8)."""

    labels: dict[str, str] = field(default_factory=lambda: {"0000": "UiApp", "0001": "stick"})
    loaders: dict[str, str] = field(default_factory=dict)
    order: list[str] = field(default_factory=lambda: ["0001", "0000"])

    def __call__(self, call: Call) -> Result:
        """One call of the program."""
        said = dict(zip(call.argv[1:], [*call.argv[2:], ""], strict=False))
        if "--create-only" in said:
            number = next(f"{n:04X}" for n in range(9999) if f"{n:04X}" not in self.labels)
            self.labels[number], self.loaders[number] = said["--label"], said["--loader"]
        elif "--bootorder" in said:
            self.order = said["--bootorder"].split(",")
        elif "--delete-bootnum" in said:
            del self.labels[said["--bootnum"]]
            self.order = [number for number in self.order if number != said["--bootnum"]]
        lines = [f"Boot{number}* {label}\tHD(1)" for number, label in self.labels.items()]
        return Result(0, "\n".join([f"BootOrder: {','.join(self.order)}", *lines]).encode(), b"")


def healthy(ground: Ground) -> None:
    """Every program of an installation answers as it does where all goes well."""
    ground.programs.answers |= {
        "systemd-creds": sealing,
        "clevis": sealing,
        "clevis luks list": DONE,
        "efibootmgr": FirmwareModel(),
        "tpm2_getcap": Result(0, b"TPM2_PT_PERMANENT:\n  inLockout: 0\n", b""),
        "cryptsetup open": Result(0, b"Key slot 0 unlocked.\n", b""),
        "cryptsetup luksDump": Result(0, METADATA.encode(), b""),
        "lsblk": Result(0, json.dumps(LSBLK).encode(), b""),
        "wipefs": Result(0, b'{"signatures": []}', b""),
    }
    ground.write("usr/lib/kairos-register/pcr.pub", "-----BEGIN PUBLIC KEY-----\n")
    ground.mounts["/sys/firmware/efi/efivars"] = "efivarfs"
    ground.plant_mounts()
