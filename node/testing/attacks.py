"""What a thief of the disk or of the whole machine can change, as data: the matrix of attacks.

Each attack changes a machine that is switched off, or how it is switched on; `end` says what its
next start has to come to. The control is a machine whose volumes its TPM opens at any start, or at
any with our image (`weaken`): there the same attacks lead to open volumes.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node.image import signing, trees
from node.image.recipe import Recipe
from node.image.rooms import Room
from node.plan.encrypt import LITERAL_PCRS, SIGNED_PCRS
from node.plan.locked import BOOT_WORDS
from node.plan.repart import tpm_options
from node.system.medium import PUBLIC_KEY
from node.testing.shop import OPEN, Shop
from node.testing.workshop import Workshop, more_words
from pairing import errors, process
from pairing.testing import cpio, firmware
from pairing.testing.box import Box
from pairing.testing.diskhand import MIB, DiskHand, filesystem, swap
from pairing.testing.firmware import Certificates

LINUX = "EFI/Linux"
KERNEL = f"{LINUX}/kr_1.0.0.efi"
WORD = "kairos.thief=was-here"
"""A kernel word that nobody reads: that it arrives is enough."""
MARK, SAY_MARK = "thief-runs-here", "echo thief-''runs-here > /dev/ttyS0"
"""What a program of the thief's says on the first serial line; and how: not in the same letters, as
a failure's message would show them."""
HOME_TYPE = "933AC7E1-2EB4-4F13-B844-0E14E2AEF915"
SWAP_TYPE = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
"""Of the Discoverable Partitions Specification: systemd uses such ones by itself."""
ENROL_SECONDS, TOKEN_SECONDS = 180.0, 60.0
ANY_START = ("--tpm2-device=auto", "--tpm2-pcrs=")
"""A slot that the TPM opens at whatever start, as without a policy (systemd-cryptenroll(1))."""
ANY_WORDS = tpm_options(
    [register for register in LITERAL_PCRS if register != BOOT_WORDS], SIGNED_PCRS, PUBLIC_KEY
)
"""Ours without register 12: one that it opens whatever a start is given from outside the image."""
IN_USE = "tail -n +2 /proc/swaps; ls -d /home/thief 2>/dev/null; true"
"""Lists what a thief's partitions are used for."""


@dataclass(slots=True)
class Target:
    """A machine in a thief's hands: its box, his tools, and how he will switch it on."""

    box: Box
    workshop: Workshop
    own_keys: Path
    """Keys that he has made himself, named as a builder's (`node.image.signing`)."""
    certificates: Certificates
    words: tuple[str, ...] = ()
    credentials: dict[str, str] = field(default_factory=dict)

    @property
    def disk(self) -> DiskHand:
        return DiskHand(self.box.disk())

    def kernel(self) -> Mapping[str, bytes]:
        """The installed system's kernel, taken apart."""
        copy = self.workshop.folder / "installed.efi"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(self.disk.read(KERNEL))
        return self.workshop.apart(copy)


@dataclass(frozen=True, slots=True)
class Thief:
    """What a thief has at home: tools, keys of his own, a room to work in."""

    tools: Room
    folder: Path

    @classmethod
    def equipped(cls, folder: Path, recipe: Recipe) -> Thief:
        """With the tools of images, as the recipe names them. Raises what make_keys raises."""
        tools = trees.tool_room(recipe.base)
        signing.make_keys(folder / "keys", tools, "thief")
        return cls(tools, folder)

    def takes(self, box: Box) -> Target:
        """A machine that he has got hold of, switched off."""
        keys = self.folder / "keys"
        certificates = Certificates(
            platform=keys / "PK.crt", exchange=keys / "KEK.crt", database=keys / "db.crt"
        )
        workshop = Workshop(self.tools, self.folder / box.folder.parent.name)
        return Target(box, workshop, keys, certificates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """`end`: the error of a locked start, or None where it opens and nothing of it is in force."""

    name: str
    text: str
    end: type[errors.LockedError] | None
    act: Callable[[Target], None]
    seen: str = ""
    """What shows on the serial line that the attack arrived, though the volumes stay closed."""


def _words(target: Target) -> None:
    target.words = (*target.words, WORD)


def _credential_file(target: Target) -> None:
    target.disk.write("loader/credentials/thief.cred", b"was here")


def _addon(target: Target) -> None:
    target.disk.write(f"{KERNEL}.extra.d/thief.addon.efi", target.workshop.addon(WORD))


def _loader_entry(target: Target) -> None:
    line = target.kernel()[".cmdline"].decode()
    entry = f"title thief\nefi /{KERNEL}\noptions {line} {WORD}\n"
    _start_by(target, entry)


def _bare_kernel(target: Target) -> None:
    parts = target.kernel()
    target.disk.write("thief/linux", parts[".linux"])
    target.disk.write("thief/initrd", parts[".initrd"])
    line = parts[".cmdline"].decode()
    _start_by(target, f"title thief\nlinux /thief/linux\ninitrd /thief/initrd\noptions {line}\n")


def _start_by(target: Target, entry: str) -> None:
    target.disk.write("loader/entries/thief.conf", entry.encode())
    conf = target.disk.read("loader/loader.conf") + b"\ndefault thief.conf\n"
    target.disk.write("loader/loader.conf", conf)


def _kernel_line(target: Target) -> None:
    target.disk.write(KERNEL, target.workshop.together(more_words(target.kernel(), WORD)))


def _initrd(target: Target) -> None:
    target.disk.write(KERNEL, target.workshop.together(with_program(target.kernel())))


def _policy(target: Target) -> None:
    target.disk.write(KERNEL, target.workshop.together(target.kernel(), target.own_keys))


def _other_tpm(target: Target) -> None:
    target.box.change_tpm()


def _enrol_keys(target: Target) -> None:
    """Keys of the thief's own; Secure Boot itself stays off, as the good kernel must start."""
    firmware.add_keys(target.box.variables, target.certificates)


def _config_volume(target: Target) -> None:
    _exchange(target, "KR_OEM")


def _data_volume(target: Target) -> None:
    _exchange(target, "KR_PERSISTENT")


def _exchange(target: Target, label: str) -> None:
    """A plain file system with a config of the thief's in the volume's place."""
    folder = target.workshop.folder / f"tree-{label}"
    folder.mkdir(parents=True)
    program = f"runcmd:\n  - {SAY_MARK}\n"
    (folder / "90_custom.yaml").write_text(f"#cloud-config\n{program}")
    image = filesystem(folder, target.workshop.folder / f"{label}.ext4", 48 * MIB)
    target.disk.overwrite(label, image)


def _server_option(target: Target) -> None:
    """Has curl print the mark: when it is asked, the boot partition is mounted."""
    mark = 'url = "file:///boot/thief/mark"\n'
    target.disk.write("thief/mark", f"{MARK}\n".encode())
    target.disk.write("thief/adv", f'{mark}{mark}output = "/dev/ttyS0"\n'.encode())
    pin = json.dumps({"clevis": {"pin": "tang", "tang": {"url": "-K/boot/thief"}}})
    jwe = {"protected": base64.urlsafe_b64encode(pin.encode()).decode()}
    token = json.dumps({"type": "clevis", "keyslots": ["0"], "jwe": jwe})
    target.workshop.folder.mkdir(parents=True)
    volume = target.disk.copied("KR_OEM", target.workshop.folder / "KR_OEM.luks")
    argv = ["cryptsetup", "token", "import", "--json-file", "-", str(volume)]
    process.run(argv, seconds=TOKEN_SECONDS, stdin=token.encode())
    target.disk.overwrite("KR_OEM", volume)


def _firmware_credentials(target: Target) -> None:
    target.credentials["systemd.unit-dropin.kairos-node.service"] = unit_with_program()


def _found_partitions(target: Target) -> None:
    folder = target.workshop.folder / "home"
    (folder / "thief").mkdir(parents=True)
    home = filesystem(folder, target.workshop.folder / "home.ext4", 32 * MIB)
    target.disk.append(HOME_TYPE, "home", home)
    target.disk.append(SWAP_TYPE, "swap", swap(target.workshop.folder / "swap", 32 * MIB))


def _extension(target: Target) -> None:
    tree = target.workshop.folder / "extension"
    release = tree / "usr/lib/extension-release.d/extension-release.thief"
    unit = tree / "usr/lib/systemd/system/kairos-node.service.d/thief.conf"
    for file, text in ((release, "ID=_any\n"), (unit, unit_with_program())):
        file.parent.mkdir(parents=True)
        file.write_text(text)
    image = filesystem(tree, target.workshop.folder / "extension.raw", MIB)
    target.disk.write(f"{KERNEL}.extra.d/thief.sysext.raw", image.read_bytes())


MATRIX: tuple[Attack, ...] = (
    Attack(
        name="words",
        text="kernel words in the firmware's tables, which the boot stub takes",
        end=errors.BootWordsChanged,
        act=_words,
    ),
    Attack(
        name="credential",
        text="a credential file on the boot partition",
        end=errors.BootWordsChanged,
        act=_credential_file,
    ),
    Attack(
        name="addon",
        text="an add-on with kernel words beside the kernel",
        end=errors.BootWordsChanged,
        act=_addon,
    ),
    Attack(
        name="loader-entry",
        text="the good kernel by an entry of the loader's that has words of its own",
        end=errors.BootWordsChanged,
        act=_loader_entry,
    ),
    Attack(
        name="bare-kernel",
        text="the good kernel and initrd without their stub, with the same words",
        # The loader measures the words that it gives, and that is what is said first.
        end=errors.BootWordsChanged,
        act=_bare_kernel,
    ),
    Attack(
        name="kernel-line",
        text="another kernel line in the kernel image, with the old policy's signature",
        end=errors.ImageForeign,
        act=_kernel_line,
    ),
    Attack(
        name="initrd",
        text="a program of the thief's in the initrd, with the old policy's signature",
        end=errors.ImageForeign,
        act=_initrd,
        seen=MARK,
    ),
    Attack(
        name="policy",
        text="a policy signed with the thief's own key",
        end=errors.ImageForeign,
        act=_policy,
    ),
    Attack(name="other-tpm", text="another TPM", end=errors.TpmForeign, act=_other_tpm),
    Attack(
        name="firmware-keys",
        text="keys of the thief's enrolled in the firmware",
        end=errors.FirmwareChanged,
        act=_enrol_keys,
    ),
    Attack(
        name="config-volume",
        text="the config's volume exchanged for a plain one with a config of the thief's",
        end=errors.VolumesForeign,
        act=_config_volume,
    ),
    Attack(
        name="data-volume",
        text="the data's volume exchanged for a plain one",
        end=errors.VolumesForeign,
        act=_data_volume,
    ),
    Attack(
        name="server-option",
        text="a Tang server in a volume's header whose address is an option of curl's",
        end=errors.HeaderDamaged,
        act=_server_option,
    ),
    Attack(
        name="firmware-credentials",
        text="units in credentials of the firmware's tables, which no register measures",
        end=None,
        act=_firmware_credentials,
    ),
    Attack(
        name="found-partitions",
        text="partitions for /home and swap, of the types that systemd uses by itself",
        end=None,
        act=_found_partitions,
    ),
    Attack(
        name="extension",
        text="a system extension on the boot partition, measured into register 13 only",
        end=None,
        act=_extension,
    ),
)


def named(*names: str) -> Iterator[Attack]:
    """Attacks of the matrix. Raises KeyError."""
    known = {attack.name: attack for attack in MATRIX}
    yield from (known[name] for name in names)


def check(attack: Attack, shop: Shop, target: Target) -> None:
    """Carry it out; raises AssertionError unless the next start comes to what it has to."""
    attack.act(target)
    with shop.running(words=target.words, credentials=target.credentials) as machine:
        came_to = shop.came_to(machine)
        said = machine.serial[0].text()
        assert came_to == (f"E{attack.end.number}" if attack.end else OPEN)
        assert (MARK in said) == (attack.seen == MARK)
        if attack.end:
            assert shop.tried("true") is None, "it is locked, and lets people in"
        else:
            assert shop.on(IN_USE) == ""


def with_program(parts: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The same with a program of the thief's in the initrd: it says `MARK`."""
    folder = "usr/lib/systemd/system/systemd-udevd.service.d"
    content = unit_with_program().encode()
    with tempfile.TemporaryDirectory() as scratch:
        packed, archive = Path(scratch, "tar"), Path(scratch, "cpio")
        with tarfile.open(packed, "w") as tar:
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(made)
            file = tarfile.TarInfo(f"{folder}/thief.conf")
            file.size, file.mode = len(content), 0o644
            tar.addfile(file, io.BytesIO(content))
        cpio.from_tar(packed, archive)
        more = archive.read_bytes()
    first = parts[".initrd"]
    return {**parts, ".initrd": first + bytes(-len(first) % 512) + more}


def unit_with_program() -> str:
    """Lines for a unit: it says `MARK` as well."""
    return f'[Service]\nExecStartPre=-+/bin/sh -c "{SAY_MARK}"\n'


def weaken(shop: Shop, key: bytes, slot: Sequence[str] = ANY_START) -> None:
    """Let the running machine's TPM open the volumes by this slot instead of ours."""
    argv = "systemd-cryptenroll --unlock-key-file=/run/weaken --wipe-slot=tpm2"
    label = "/dev/disk/by-partlabel/KR_"
    lines = [
        "set -e",
        "umask 077",
        f"printf %s {key.decode()} > /run/weaken",
        # Else systemd-cryptenroll takes the signed policy by itself.
        "mv /run/systemd/tpm2-pcr-public-key.pem /run/systemd/taken-away",
        f"{argv} {' '.join(slot)} {label}OEM",
        f"{argv} {' '.join(slot)} {label}PERSISTENT",
    ]
    shop.on(f"sudo -n sh -c '{'; '.join(lines)}'", seconds=ENROL_SECONDS)
