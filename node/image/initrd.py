"""The initrd: finds the root by its partition's label, checks it (dm-verity), lays `/etc` over it.

dracut(8) makes it in the base tree itself, so that its programs and drivers are those of the image.
It is the same for every version of an image: what differs is in the UKI's kernel line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from node.image.product import UNITS
from node.image.rooms import WORK, Room
from node.plan.slots import version_key
from pairing import errors

SECONDS = 900.0
MODULES = (
    "systemd",
    # Without its units a failure would end in nothing at all.
    "systemd-emergency",
    "systemd-initrd",
    "systemd-modules-load",
    "systemd-tmpfiles",
    "systemd-udevd",
    "systemd-veritysetup",
    "dm",
    "kernel-modules",
    "rootfs-block",
    "udev-rules",
)
LEFT_OUT = (
    *("crypt", "fips", "i18n", "lvm", "mdraid", "network", "nfs", "plymouth", "resume"),
    # dracut's own hooks, each a shell: systemd's generators do all that we need of them.
    *("dracut-systemd", "shutdown", "usrmount", "terminfo"),
    # A root is a partition of a disk, and names of hardware are nobody's concern here.
    *("hwdb", "lunmask", "nvdimm", "overlay-root", "virtfs", "virtiofs"),
    # With tools of its own, and curl, Kerberos and LDAP for a profile that nobody reads: a third of
    # the initrd, which the firmware reads and measures at each start. See MEASURING.
    *("systemd-pcrphase", "tpm2-tss"),
)
DRIVERS_LEFT_OUT = (
    *("aoe", "bcache", "ceph", "drbd", "libceph", "nbd", "null_blk", "rbd", "zram"),
    *("dm_cache", "dm_raid", "dm_vdo", "dm_writecache", "dm_zoned"),
    *("md_mod", "raid0", "raid1", "raid10", "raid456", "raid6_pq"),
    *("iscsi_tcp", "libiscsi", "nvmet", "scsi_debug", "target_core_mod", "tcrypt"),
)
"""Of storage that no root of ours is on, and tests of the kernel: a third of all drivers' size."""
FILE_SYSTEMS = ("overlay", "squashfs", "vfat")
"""Else dracut takes along all of them."""
DRIVERS = ("dm-verity", "loop", "nls_ascii", "nls_cp437", "=drivers/char/tpm")
"""Without them there is no root, or no TPM. dracut itself adds drivers of all kinds of disks."""
TPM_LIBRARIES = (
    "libtss2-esys.so.0",
    "libtss2-mu.so.0",
    "libtss2-rc.so.0",
    "libtss2-sys.so.1",
    "libtss2-tcti-device.so.0",
)
"""systemd loads them by name, for what follows."""
MEASURING = (
    "/usr/lib/systemd/systemd-pcrextend",
    "/usr/lib/systemd/system-generators/systemd-tpm2-generator",
    "/usr/lib/systemd/system/initrd.target.wants/systemd-pcrphase-initrd.service",
    "/usr/lib/systemd/system/systemd-pcrphase-initrd.service",
    "/usr/lib/systemd/system/tpm2.target",
)
"""That the initrd was entered and left is measured into the TPM: systemd-pcrphase.service(8)."""
OVERLAY_UNIT = """# Changes to /etc live in memory, above the image's.
[Unit]
Description=Writable /etc
DefaultDependencies=no
Requires=sysroot.mount
After=sysroot.mount systemd-tmpfiles-setup.service
Before=initrd-fs.target
[Mount]
What=overlay
Where=/sysroot/etc
Type=overlay
Options=lowerdir=/sysroot/etc,upperdir=/run/etc-overlay/upper,workdir=/run/etc-overlay/work
"""
OVERLAY_FOLDERS = "d /run/etc-overlay/upper 0755\nd /run/etc-overlay/work 0755\n"
NOT_LOOKED_AT = (
    *("acpi", "bdi", "clockevents", "clocksource", "container", "cpu", "event_source", "graphics"),
    *("input", "leds", "machinecheck", "mem", "memory", "net", "serial-base", "sound", "thermal"),
    *("tty", "vc", "vtconsole", "wakeup", "workqueue"),
)
"""Kinds of devices that lead to no disk; they are four of five. The system looks at them later."""
COLDPLUG = f"""[Service]
ExecStart=
ExecStart=-udevadm trigger --type=devices --action=add --prioritized-subsystem=block \
 {" ".join(f"--subsystem-nomatch={kind}" for kind in NOT_LOOKED_AT)}
"""
MASKED_GENERATORS = ("systemd-debug-generator", "systemd-gpt-auto-generator")
"""The root is said on the kernel's line."""
MASKED = ("systemd-sysctl.service",)
"""The system does it again, some seconds later."""
# A CD's partitions are not looked for by the kernel; a loop device over it has them.
CD_RULE = (
    'SUBSYSTEM=="block", KERNEL=="sr[0-9]*", ACTION!="remove", ENV{ID_FS_LABEL}=="KR_LIVE",'
    ' TAG+="systemd", ENV{SYSTEMD_WANTS}+="partitions-of-cd@%k.service"\n'
)
CD_UNIT = """[Unit]
Description=Partitions of the CD in %I
DefaultDependencies=no
After=systemd-udevd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/losetup --find --partscan --read-only /dev/%I
"""


# A slot that was changed, or rots, is found before anything of it runs: systemd would notice only
# when it needs a changed block, in the middle of the day (docs/adr/0018).
CHECK_UNIT = """[Unit]
Description=Every block of the root
DefaultDependencies=no
ConditionKernelCommandLine=kairos.mode=installed
Requires=dev-mapper-root.device
After=dev-mapper-root.device
Before=sysroot.mount
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/dd if=/dev/mapper/root of=/dev/null bs=4M iflag=direct
TimeoutStartSec=600
"""
REQUIRED = {
    "initrd-fs.target": "sysroot-etc.mount",
    "sysroot.mount": "kairos-check-root.service",
}
PROGRAMS = (
    *("cat", "cut", "dd", "head", "mkdir", "mount", "mv", "sleep", "sync", "tail", "timeout"),
    *("tr", "umount"),
)
"""In `/usr/bin`: of the check above, and of a start that failed (`node/units`)."""


def files() -> Mapping[str, str]:
    """What is in our initrd beside what dracut takes along, by path."""
    units = "usr/lib/systemd/system"
    emergency = {
        f"{units}/emergency.service.d/{path.name}": path.read_text(encoding="utf-8")
        for path in sorted((UNITS / "emergency.service.d").iterdir())
    }
    return {
        f"{units}/sysroot-etc.mount": OVERLAY_UNIT,
        f"{units}/kairos-check-root.service": CHECK_UNIT,
        f"{units}/partitions-of-cd@.service": CD_UNIT,
        **emergency,
        f"{units}/systemd-udev-trigger.service.d/kairos.conf": COLDPLUG,
        "usr/lib/tmpfiles.d/etc-overlay.conf": OVERLAY_FOLDERS,
        "usr/lib/udev/rules.d/90-partitions-of-cd.rules": CD_RULE,
    }


def links() -> Mapping[str, str]:
    """The same for symbolic links, and where they point."""
    masked = {f"etc/systemd/system-generators/{name}": "/dev/null" for name in MASKED_GENERATORS}
    masked |= {f"etc/systemd/system/{name}": "/dev/null" for name in MASKED}
    required = {
        f"usr/lib/systemd/system/{target}.requires/{unit}": f"../{unit}"
        for target, unit in REQUIRED.items()
    }
    return {**masked, **required}


def settings(libraries: Sequence[str]) -> str:
    """dracut.conf(5): for any machine, the same bytes each time. `libraries`: the TPM's, paths."""
    lists = {
        "dracutmodules": MODULES,
        "omit_dracutmodules": LEFT_OUT,
        "add_drivers": DRIVERS,
        "omit_drivers": DRIVERS_LEFT_OUT,
        "filesystems": FILE_SYSTEMS,
        "install_items": (
            "/usr/sbin/losetup",
            *(f"/usr/bin/{name}" for name in PROGRAMS),
            *MEASURING,
            *libraries,
        ),
    }
    lines = [f'{name}+=" {" ".join(words)} "' for name, words in lists.items()]
    lines[0] = lines[0].replace("dracutmodules", "add_dracutmodules")
    lines += ['hostonly="no"', 'reproducible="yes"', 'compress="zstd"', 'early_microcode="no"']
    return "\n".join(lines) + "\n"


def make(draft: Path, tree: Path, settings: str, epoch: int) -> None:
    """Fill `draft` with `initrd`, `kernel` and `version` (the kernel's). `settings`: see there.

    Raises errors.BaseUnsuitable and what Room.run raises.
    """
    version = kernel_version(tree)
    for name, text in files().items():
        place = draft / "extra" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    for name, target in links().items():
        place = draft / "extra" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
    (draft / "settings.conf").write_text(settings, encoding="utf-8")
    (draft / "confdir").mkdir()
    argv = ["dracut", "--force", "--quiet", "--conf", f"{WORK}/settings.conf"]
    argv += ["--confdir", f"{WORK}/confdir", "--kver", version, "--include", f"{WORK}/extra", "/"]
    argv += ["--tmpdir", "/tmp", f"{WORK}/initrd"]
    date = {"SOURCE_DATE_EPOCH": str(epoch)}
    Room(tree).run(argv, draft, seconds=SECONDS, environment=date)
    (draft / "kernel").write_bytes((tree / f"boot/vmlinuz-{version}").read_bytes())
    (draft / "version").write_text(version, encoding="utf-8")


def tpm_libraries(tree: Path) -> list[str]:
    """Those of TPM_LIBRARIES that a tree has: absolute paths in it."""
    found = [
        sorted([*tree.glob(f"usr/lib*/{name}"), *tree.glob(f"usr/lib*/*/{name}")])[:1]
        for name in TPM_LIBRARIES
    ]
    return [f"/{place.relative_to(tree)}" for places in found for place in places]


def kernel_version(tree: Path) -> str:
    """Of the newest kernel in a tree, as `uname -r` says it. Raises errors.BaseUnsuitable."""
    found = [entry.name.removeprefix("vmlinuz-") for entry in (tree / "boot").glob("vmlinuz-*")]
    if not found:
        raise errors.BaseUnsuitable("It has no kernel in /boot.")
    return max(found, key=_newness)


def _newness(version: str) -> tuple[Any, bool]:
    """Debian's cloud kernel lacks drivers: of the same version the other one serves everybody."""
    plain = version.replace("-cloud-", "-")
    return version_key(plain), plain == version
