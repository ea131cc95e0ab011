"""A machine's installed disk and TPM as files below a folder, with programs that act on them.

For tests of what runs on the installed system, without root and without a disk: volumes open, mount
and refuse like real ones as far as their order and effects go.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.plan.tpmpolicy import ZERO
from pairing import errors
from pairing.process import Result

LABELS = (
    *("KR_ESP", "KR_OEM", "kr_root_1.0.0", "kr_verity_1.0.0", "_empty", "_empty"),
    *("kr_recovery", "kr_recovery_v", "KR_PERSISTENT"),
)
DISK_ID = "0a1b2c3d-0000-4000-8000-00000000000{}"

ROOT_MOUNT = "22 1 253:0 / / ro - squashfs /dev/dm-0 ro\n"
CMDLINE = (
    "roothash=00 systemd.verity_root_data=PARTLABEL=kr_root_1.0.0"
    " systemd.verity_root_hash=PARTLABEL=kr_verity_1.0.0 kairos.mode=installed\n"
)


@dataclass
class InstalledMachine:
    """`programs` overrides what a program answers: by its name, a function of argv and stdin.

    `headers` holds the metadata of each volume as `luksDump` prints it; one without is plain ext4.
    `opens`: what opens the volumes now; `key` is the recovery key, `pin` the approval's.
    """

    root: Path
    headers: Mapping[str, bytes] = field(default_factory=dict)
    opens: frozenset[str] = frozenset({"tpm"})
    key: bytes = b"RECOVERY-KEY"
    pin: bytes = b"123456"
    tpm: bool = True
    programs: dict[str, Callable[[Sequence[str], bytes], Result]] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    registers: dict[int, bytes] = field(default_factory=dict)
    labels: Sequence[str] = LABELS

    def __post_init__(self) -> None:
        self.write("proc/self/mountinfo", ROOT_MOUNT)
        self.write("proc/cmdline", CMDLINE)
        self.write("sys/block/dm-0/dm/uuid", "CRYPT-VERITY-0-root\n")
        self.write("sys/block/dm-0/dm/name", "root\n")
        for number, label in enumerate(self.labels, start=1):
            folder = f"sys/block/vda/vda{number}"
            self.write(f"{folder}/partition", f"{number}\n")
            self.write(f"{folder}/size", "2048\n")
            self.write(f"{folder}/uevent", f"PARTN={number}\nPARTNAME={label}\n")
            if "1.0.0" in label:
                self.write(f"sys/block/dm-0/slaves/vda{number}/size", "")
        self.write("etc/os-release", 'IMAGE_ID=kr\nIMAGE_VERSION="1.0.0"\n')
        self.write("etc/machine-id", 32 * "a" + "\n")
        for folder in ("dev/mapper", "oem", "boot", "usr/local", "run"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        if self.tpm:
            self.write("sys/class/tpm/tpm0/tpm_version_major", "2\n")
            for number in range(24):
                self.measure(number, ZERO)

    def write(self, name: str, text: str | bytes) -> Path:
        """A file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def measure(self, number: int, value: bytes) -> None:
        """Set a register."""
        self.write(f"sys/class/tpm/tpm0/pcr-sha256/{number}", value.hex().upper() + "\n")

    def boot_variable(self, name: str, text: str) -> None:
        """A variable of the boot loader."""
        guid = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
        data = b"\6\0\0\0" + (text + "\0").encode("utf-16-le")
        self.write(f"sys/firmware/efi/efivars/{name}-{guid}", data)

    @property
    def mounted(self) -> list[str]:
        """Mount points, in the order of mounting."""
        lines = (self.root / "proc/self/mountinfo").read_text().splitlines()
        return [line.split()[4] for line in lines][1:]

    def ran(self, name: str) -> list[tuple[str, ...]]:
        """Every call of a program."""
        return [argv for argv in self.asked if argv[0] == name]

    # --- the programs -------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Result:
        """See `node.system.door.Door`."""
        assert 0 < seconds <= 3600
        assert not any(secret in " ".join(argv).encode() for secret in (self.key, self.pin))
        self.asked.append(tuple(argv))
        name = argv[0]
        if name in self.programs:
            result = self.programs[name](argv, stdin)
        else:
            known = getattr(self, "_" + name.replace("-", "_"), None)
            if known is None:
                raise errors.CommandMissing(element=name)
            result = known(argv, stdin)
        assert isinstance(result, Result)
        if check and result.status:
            raise errors.CommandFailed(f"Status {result.status}", element=name)
        return result

    def _udevadm(self, argv: Sequence[str], stdin: bytes) -> Result:
        return DONE

    def _veritysetup(self, argv: Sequence[str], stdin: bytes) -> Result:
        return Result(0, b"  type:        VERITY\n  status:      verified\n", b"")

    def _sync(self, argv: Sequence[str], stdin: bytes) -> Result:
        return DONE

    def _e2fsck(self, argv: Sequence[str], stdin: bytes) -> Result:
        return DONE

    def _blkid(self, argv: Sequence[str], stdin: bytes) -> Result:
        number = _number(argv[-1])
        label = self.labels[number - 1]
        lines = [f"PART_ENTRY_NAME={label}", f"PART_ENTRY_UUID={DISK_ID.format(number)}"]
        if label in ("KR_OEM", "KR_PERSISTENT"):
            kind = "crypto_LUKS" if label in self.headers else "ext4"
            lines += [f"TYPE={kind}", f"UUID=0000000{number}-uuid"]
        return Result(0, "\n".join(lines).encode(), b"")

    def _cryptsetup(self, argv: Sequence[str], stdin: bytes) -> Result:
        if argv[1] == "luksDump":
            header = self.headers.get(self._label(argv[-1]), b"")
            return Result(0, header, b"") if header else FAILED
        tpm, key = "--token-only" in argv, "--key-file" in argv
        fits = (tpm and stdin == self.pin and "pin" in self.opens) or (key and stdin == self.key)
        return self._mapped(argv[-1]) if fits else Result(2, b"", b"")

    def _systemd_cryptsetup(self, argv: Sequence[str], stdin: bytes) -> Result:
        gives = self.tpm and "tpm" in self.opens and self._register(15) == ZERO
        return self._mapped(argv[2]) if gives else FAILED

    def _clevis(self, argv: Sequence[str], stdin: bytes) -> Result:
        return self._mapped(argv[-1]) if "tang" in self.opens else FAILED

    def _curl(self, argv: Sequence[str], stdin: bytes) -> Result:
        return DONE if "tang" in self.opens else Result(7, b"", b"")

    def _tpm2_readpublic(self, argv: Sequence[str], stdin: bytes) -> Result:
        return FAILED

    def _tpm2_pcrextend(self, argv: Sequence[str], stdin: bytes) -> Result:
        number, _, value = argv[1].partition(":sha256=")
        now = self._register(int(number)) + bytes.fromhex(value)
        self.measure(int(number), hashlib.sha256(now).digest())
        return DONE

    def _mount(self, argv: Sequence[str], stdin: bytes) -> Result:
        with (self.root / "proc/self/mountinfo").open("a") as table:
            where = argv[-1].removeprefix(str(self.root))
            table.write(f"30 22 0:30 / {where} rw - {argv[2]} {argv[-2]} rw\n")
        return DONE

    def _cp(self, argv: Sequence[str], stdin: bytes) -> Result:
        import shutil

        shutil.copytree(argv[-2], argv[-1], symlinks=True)
        return DONE

    def _ssh_keygen(self, argv: Sequence[str], stdin: bytes) -> Result:
        path = Path(argv[-1])
        path.write_text(f"private {len(self.asked)}")
        path.with_name(path.name + ".pub").write_text(f"public {len(self.asked)}")
        return DONE

    def _register(self, number: int) -> bytes:
        return bytes.fromhex(
            (self.root / f"sys/class/tpm/tpm0/pcr-sha256/{number}").read_text().strip()
        )

    def _label(self, device: str) -> str:
        return self.labels[_number(device) - 1]

    def _mapped(self, name: str) -> Result:
        (self.root / "dev/mapper" / name).write_text("")
        return DONE

    # --- what tests do to it ------------------------------------------------------------------

    def restart(self) -> None:
        """Power off and on: mappings, mounts, registers and /run are gone, volumes stay."""
        self.write("proc/self/mountinfo", ROOT_MOUNT)
        for mapped in (self.root / "dev/mapper").iterdir():
            mapped.unlink()
        for left in (self.root / "run/kairos-register").glob("*"):
            left.unlink()
        if self.tpm:
            for number in range(24):
                self.measure(number, ZERO)

    def report(self) -> dict[str, object]:
        """The boot report as it lies there."""
        body = json.loads((self.root / "run/kairos-register/boot.json").read_text())
        assert isinstance(body, dict)
        return body


DONE = Result(0, b"", b"")
FAILED = Result(1, b"", b"")


def _number(device: str) -> int:
    """Of a partition, on whatever disk."""
    return int(device.lstrip("/abcdefghijklmnopqrstuvwxyz"))
