"""The machine to emulate, as data, and QEMU's words for it (qemu(1), qemu-options).

Always emulated (`-accel tcg`): the result does not depend on the machine that runs the test.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CPU_SECONDS = 4 * 3600
"""Processor time after which the kernel ends a forgotten machine: more than any story takes."""
OVMF = Path("/usr/share/OVMF")


EMULATED = ("no_timer_check", "norandmaps")
"""Kernel words for a system that QEMU emulates.

`norandmaps`: QEMU 7.2 keeps its translations of a page by the address at which a program sees it,
so with addresses of chance a page of libc collects one set for each program started, thousands
within a minute. Starts take a third longer, and whoever has that page later without executing from
it makes QEMU look through all of them at each write: a firmware whose stack came to lie there did
not get through its start within seven minutes, and a machine stood still for half a minute.
"""


class Firmware(enum.Enum):
    """What starts the machine. The value is the file of OVMF's code."""

    BIOS = ""
    UEFI = "OVMF_CODE_4M.fd"
    SECURE = "OVMF_CODE_4M.secboot.fd"
    """With Secure Boot, whose variables only System Management Mode may write."""

    @property
    def code(self) -> Path:
        return OVMF / self.value


class Plug(enum.Enum):
    """How a drive is connected."""

    DISK = "virtio-blk-pci"
    STICK = "usb-storage"
    CD = "ide-cd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A disk, stick or CD. `image` is a raw file; the machine changes it in place."""

    image: Path
    plug: Plug = Plug.DISK
    serial: str = "E2E-DISK"
    order: int | None = None
    """The firmware tries the lowest first. None: as its own variables say."""
    read_only: bool = False
    log: Path | None = None
    """Every write goes here as well: pairing.testing.writelog reads it."""
    zeroing: bool = True
    """A discard leaves zeros. False: it is taken and nothing happens, as on many disks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A machine. `memory` in MiB, `tap` an interface (empty: no network).

    One core: with more, an emulated processor may still run the old code where the kernel has just
    patched itself for another (int3 oops of Linux 6.12 with QEMU 7.2, once in ten boots).
    """

    serial: str
    uuid: str
    mac: str
    tap: str = ""
    memory: int = 1536
    cores: int = 1
    drives: Sequence[Drive] = ()
    firmware: Firmware = Firmware.BIOS
    variables: Path | None = None
    """The firmware's memory, changed in place (UEFI). None: it forgets."""
    tpm: Path | None = None
    """The socket of pairing.testing.software_tpm. None: no TPM."""
    clock: str = "utc"
    """As QEMU's `-rtc base=`: `utc` or a date and time. OVMF writes the century into it, by which a
    1970 becomes 2070; only the older chipset hides that from Linux."""
    chipset: str = "q35"
    """QEMU's machine: `q35` (2009), or `pc` (1996), which has no AHCI and no Secure Boot."""
    serial_lines: int = 1
    """ttyS0 and so on; a PC has up to four."""
    monitor: tuple[int, int] | None = None
    """Pixels that the monitor says it likes best, which UEFI then takes. None: QEMU's, 1280 x 800.
    """
    words: Sequence[str] = ()
    """More kernel words, by SMBIOS type 11 (systemd-stub(7)). They change PCR 12: a disk that was
    sealed without them stays locked."""
    memory_from: Path | None = None
    """Go on where qemu.Machine.keep_memory left a machine with the same hardware."""
    credentials: Mapping[str, str] = field(default_factory=dict)
    """systemd's credentials, by SMBIOS type 11 too (systemd(1)). They change no PCR of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """A kernel that QEMU loads by itself, and the words of its command line."""

    kernel: Path
    initramfs: Path
    words: Sequence[str] = ()


def argv(hardware: Hardware, boot: Boot | None, folder: Path, pidfile: Path) -> list[str]:
    """QEMU's command. Sockets and logs go to `folder`. `boot` None: the firmware chooses."""
    qmp = f"unix:{folder / 'qmp.socket'},server=on,wait=off"
    rng = "rng-random,id=rng,filename=/dev/urandom"
    words = ["prlimit", f"--cpu={CPU_SECONDS}", "qemu-system-x86_64", "-nodefaults"]
    words += ["-accel", "tcg,thread=multi", "-cpu", "Westmere,+rdrand"]
    words += ["-smp", str(hardware.cores), "-m", str(hardware.memory), "-display", "none"]
    words += ["-vga", "std", "-rtc", f"base={hardware.clock}", "-uuid", hardware.uuid]
    words += ["-smbios", f"type=1,serial={hardware.serial},manufacturer=Example,product=Guest"]
    words += ["-object", rng, "-device", "virtio-rng-pci,rng=rng", "-qmp", qmp]
    words += ["-daemonize", "-pidfile", str(pidfile)]
    if hardware.memory_from is not None:
        words += ["-incoming", f"exec:cat {hardware.memory_from}"]
    if hardware.monitor is not None:
        for name, pixels in zip(("xres", "yres"), hardware.monitor, strict=True):
            words += ["-global", f"VGA.{name}={pixels}"]
    words += _firmware(hardware) + _boot(hardware, boot) + _network(hardware) + _tpm(hardware)
    for line in range(hardware.serial_lines):
        words += _serial(folder / f"ttyS{line}", f"serial{line}")
    for number, drive in enumerate(hardware.drives):
        words += _drive(drive, f"drive{number}")
    return words


def _boot(hardware: Hardware, boot: Boot | None) -> list[str]:
    if boot is not None:
        # A kernel of its own has no way back to the firmware's choice: a restart is an end.
        files = ["-kernel", str(boot.kernel), "-initrd", str(boot.initramfs), "-no-reboot"]
        return [*files, "-append", " ".join(boot.words)]
    return [
        word for text in _oem_strings(hardware) for word in ("-smbios", f"type=11,value={text}")
    ]


def _oem_strings(hardware: Hardware) -> Iterator[str]:
    """QEMU takes a comma as two."""
    if hardware.words:
        extra = f"io.systemd.stub.kernel-cmdline-extra={' '.join(hardware.words)}"
        yield extra.replace(",", ",,")
    for name, content in hardware.credentials.items():
        coded = base64.b64encode(content.encode()).decode()
        yield f"io.systemd.credential.binary:{name}={coded}"


def _firmware(hardware: Hardware) -> list[str]:
    if hardware.firmware is Firmware.BIOS:
        return ["-machine", "pc"]
    secure = hardware.firmware is Firmware.SECURE
    words = ["-machine", f"{hardware.chipset},smm={'on' if secure else 'off'}"]
    if secure:
        words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        # As OVMF's own notes ask for: resuming from S3 would have to go through SMM as well.
        words += ["-global", "ICH9-LPC.disable_s3=1"]
    code = f"if=pflash,format=raw,unit=0,readonly=on,file={hardware.firmware.code}"
    words += ["-drive", code, "-device", "qemu-xhci,id=usb"]
    if hardware.variables is not None:
        words += ["-drive", f"if=pflash,format=raw,unit=1,file={hardware.variables}"]
    return words


def _tpm(hardware: Hardware) -> list[str]:
    if hardware.tpm is None:
        return []
    line = ["-chardev", f"socket,id=tpm,path={hardware.tpm}"]
    return [*line, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]


def _serial(files: Path, name: str) -> list[str]:
    line = f"socket,id={name},path={files}.socket,server=on,wait=off,logfile={files}.log"
    return ["-chardev", line, "-serial", f"chardev:{name}"]


def _network(hardware: Hardware) -> list[str]:
    if not hardware.tap:
        return []
    tap = f"tap,id=lan,ifname={hardware.tap},script=no,downscript=no"
    return ["-netdev", tap, "-device", f"virtio-net-pci,netdev=lan,mac={hardware.mac},romfile="]


def _drive(drive: Drive, name: str) -> list[str]:
    read_only = "on" if drive.read_only or drive.plug is Plug.CD else "off"
    # Nothing of a test has to survive this host's power cut: its own flushes are left out.
    file = f"driver=file,node-name={name}-file,filename={drive.image},read-only={read_only}"
    sparse = "discard=unmap,detect-zeroes=unmap"
    stored = sparse if drive.zeroing else "discard=ignore"
    words = ["-blockdev", f"{file},{stored},cache.no-flush=on"]
    below = f"{name}-file"
    if drive.log is not None:
        words += ["-blockdev", f"driver=file,node-name={name}-out,filename={drive.log},{sparse}"]
        logging = f"driver=blklogwrites,node-name={name}-log,file={below},log={name}-out"
        logging += ",log-sector-size=512,log-super-update-interval=1024,discard=unmap"
        words += ["-blockdev", logging]
        below = f"{name}-log"
    # Each node passes discards on only if it is told to.
    raw = f"driver=raw,node-name={name},file={below},read-only={read_only},discard=unmap"
    words += ["-blockdev", raw]
    device = f"{drive.plug.value},drive={name}"
    device += {Plug.DISK: f",serial={drive.serial}", Plug.STICK: ",bus=usb.0", Plug.CD: ""}[
        drive.plug
    ]
    if drive.order is not None:
        device += f",bootindex={drive.order}"
    return [*words, "-device", device]
