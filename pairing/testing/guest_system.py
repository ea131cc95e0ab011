"""How the virtual machine's Debian is set up: for tests, and to boot fast in slow emulation.

What a product image needs as well is in node/units.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pairing import peertoken
from pairing.peertoken import Token
from pairing.qr.read import PhotoReader
from pairing.qr.reading import token_from
from pairing.testing.hardware import EMULATED
from pairing.testing.qemu import Machine, SerialLine

SCREEN_LINE, JOURNAL_LINE, SHELL_LINE = 0, 1, 2
"""What the serial lines ttyS0 to ttyS2 are for. The root shell is for tests only."""
SHELL_WORD = f"systemd.debug_shell=ttyS{SHELL_LINE}"
"""Kernel word: that shell. A live start may have it from outside; an installation is sealed to the
words from outside (PCR 12), so there it has to be in the image."""
SHELL_SECONDS = 60.0
CLOCK_WORD = "e2e.clock"
"""Kernel word: set the clock as the board has it, however wrong. systemd would raise it."""

KERNEL_WORDS = (
    *("rdinit=/usr/lib/systemd/systemd", "console=tty0", "console=ttyS0", "loglevel=4"),
    *("consoleblank=0", "vt.global_cursor_default=0", "systemd.show_status=0", "panic=5"),
    *("systemd.machine_id=firmware", SHELL_WORD),
    # Emulation is slow enough without these.
    *(*EMULATED, "cryptomgr.notests", "mitigations=off", "audit=0", "apparmor=0"),
)

ENABLED = (
    "/usr/lib/systemd/system/systemd-networkd.service",
    "/etc/systemd/system/clock-of-the-board.service",
    "/etc/systemd/system/kairos-node.service",
)
FILES: Mapping[str, str] = {
    "etc/hostname": "kairos\n",
    "etc/machine-id": "",
    # The steps that write to a disk are not there yet: the node rehearses.
    "etc/kairos-register/environment": "KAIROS_NODE_OPTIONS=--dry-run\n",
    "etc/systemd/journald.conf.d/e2e.conf": f"""[Journal]
Storage=volatile
ForwardToConsole=yes
MaxLevelConsole=info
TTYPath=/dev/ttyS{JOURNAL_LINE}
""",
    "etc/systemd/system/clock-of-the-board.service": f"""[Unit]
ConditionKernelCommandLine={CLOCK_WORD}
DefaultDependencies=no
Before=kairos-node.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c "date --set=@$(cat /sys/class/rtc/rtc0/since_epoch)"
""",
}

MASKED_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty@tty1.service",
    "kmod-static-nodes.service",
    "ldconfig.service",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-boot-random-seed.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-networkd-persistent-storage.service",
    "systemd-networkd-wait-online.service",
    "systemd-pcrmachine.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-random-seed.service",
    "systemd-sysusers.service",
    "systemd-tpm2-setup-early.service",
    "systemd-tpm2-setup.service",
    "systemd-udev-load-credentials.service",
    "systemd-update-done.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
)
"""Work for a first boot that an image in memory would do at each boot."""
MASKED_GENERATORS = (
    "systemd-cryptsetup-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-integritysetup-generator",
    "systemd-rc-local-generator",
    "systemd-ssh-generator",
    "systemd-system-update-generator",
    "systemd-sysv-generator",
    "systemd-tpm2-generator",
    "systemd-veritysetup-generator",
)


def write(root: Path) -> None:
    """Put settings, masks and links below `root`."""
    for name, content in FILES.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    units = root / "etc/systemd/system"
    _link(units, dict.fromkeys(MASKED_UNITS, "/dev/null"))
    _link(root / "etc/systemd/system-generators", dict.fromkeys(MASKED_GENERATORS, "/dev/null"))
    _link(units / "basic.target.wants", {Path(unit).name: unit for unit in ENABLED})


def _link(folder: Path, links: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in links.items():
        (folder / name).symlink_to(target)


def journal(machine: Machine) -> SerialLine:
    """The line on which the guest's journal comes."""
    return machine.serial[JOURNAL_LINE]


def ask(machine: Machine, command: str) -> str:
    """What a root shell in the guest answers to `command`; raises qemu.GuestTooSlow."""
    return machine.serial[SHELL_LINE].ask(command, SHELL_SECONDS)


def token_on_screen(machine: Machine) -> Token:
    """The token in the picture of the guest's monitor, read as operators do."""
    return token_in(machine.screen())


def token_in(photo: Path) -> Token:
    """The token in a picture. Raises errors.PhotoError."""
    with PhotoReader() as reader:
        return peertoken.parse(token_from(reader.read(photo)).text)
