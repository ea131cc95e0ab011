"""An installed machine whose volumes are real: cryptsetup(8) on files, without root or devices.

The TPM is a stand-in: what it would unseal is a passphrase that the test knows, its token is one
that a real TPM's slot had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.plan.keyslots import read_slots
from node.recoverykey import RecoveryKey
from node.system.install.bind import PIN_CREDENTIAL
from node.testing.installed import InstalledMachine
from pairing import errors, process
from pairing.process import Result

SIZE = 8 << 20
SECONDS = 60.0
FORMAT = (
    *("luksFormat", "--batch-mode", "--type", "luks2", "--luks2-keyslots-size", "2m"),
    *("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", "-"),
)
CHANGING = frozenset(
    {"luksFormat", "luksAddKey", "luksKillSlot", "systemd-cryptenroll", "close"}
    | {"mkfs.ext4", "mount", "umount"}
)
DEVICES = ("/dev/vda2", "/dev/vda9")
IN_MEMORY = "22 1 253:0 / / ro - squashfs /dev/dm-0 ro\n25 22 0:22 / /run rw - tmpfs tmpfs rw\n"


class Killed(Exception):
    """Whoever changes the keys ends here, without a last word; what is open stays open."""


@dataclass
class Locksmith:
    """`key` opens both volumes at first. `token`: the recorded token of a TPM's slot.

    `cut`: the change at which its program is killed, just before it is made, counted from 1, and at
    everything after it. Zero: never.
    """

    machine: InstalledMachine
    key: RecoveryKey = field(default_factory=RecoveryKey.new)
    token: Mapping[str, Any] = field(default_factory=dict)
    cut: int = 0
    changes: int = 0

    def __post_init__(self) -> None:
        self.machine.write("proc/self/mountinfo", IN_MEMORY)
        for device in DEVICES:
            with self.at(device).open("wb") as file:
                file.truncate(SIZE)
            self.real(*FORMAT, str(self.at(device)), stdin=self.key.passphrase)
            self.machine.programs["cryptsetup"] = self._cryptsetup
            self.machine.programs["systemd-cryptenroll"] = self._enroll

    @property
    def root(self) -> Path:
        return self.machine.root

    def at(self, device: str) -> Path:
        """The file that stands for a device."""
        return self.root / device.lstrip("/")

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
        self.changes += bool(CHANGING & set(argv[:2]))
        if 0 < self.cut <= self.changes:
            raise Killed
        self._environment = dict(environment or {})
        return self.machine.run(argv, seconds=seconds, stdin=stdin, check=check)

    # --- looking ------------------------------------------------------------------------------

    def opens(self, passphrase: bytes) -> list[bool]:
        """Whether it opens each volume, whatever kind of slot it fits."""
        return [
            self.real(*OPENING, str(self.at(device)), stdin=passphrase, check=False).status == 0
            for device in DEVICES
        ]

    def slots(self) -> list[int]:
        """How many passphrases people have for each volume."""
        return [len(read_slots(self.metadata(device)).people) for device in DEVICES]

    def metadata(self, device: str) -> str:
        """Its header's, as JSON."""
        return self.real("luksDump", "--dump-json-metadata", str(self.at(device))).text()

    def real(self, *words: str, stdin: bytes = b"", check: bool = True) -> Result:
        """The true cryptsetup."""
        return process.run(["cryptsetup", *words], seconds=SECONDS, stdin=stdin, check=check)

    # --- programs -----------------------------------------------------------------------------

    def _cryptsetup(self, argv: Sequence[str], stdin: bytes) -> Result:
        words = [str(self.at(word)) if word in DEVICES else word for word in argv[1:]]
        mapped = self.root / "dev/mapper"
        if words[0] == "close":
            (mapped / words[-1]).unlink()
            return Result(0, b"", b"")
        if words[0] == "open" and "--test-passphrase" not in words:
            return self._open(words, mapped / words[-1], stdin)
        if words[0] == "luksFormat":
            if any(one.read_text() == words[-1] for one in mapped.iterdir()):
                return Result(5, b"", b"Cannot use a device which is in use.\n")
            words[1:1] = ["--luks2-keyslots-size", "2m"]
        return self.real(*words, stdin=stdin, check=False)

    def _open(self, words: Sequence[str], mapped: Path, stdin: bytes) -> Result:
        """Without root there is no device mapper: the key is tried, and the name is taken."""
        if mapped.exists():
            return Result(5, b"", b"The device already exists.\n")
        tried = self.real("open", "--test-passphrase", *words[1:-1], stdin=stdin, check=False)
        if tried.status == 0:
            mapped.write_text(words[-2])
        return tried

    def _enroll(self, argv: Sequence[str], stdin: bytes) -> Result:
        """A slot for the TPM, then the one that it had is wiped.

        As systemd 257: without a PIN it does nothing where the same registers are enrolled already,
        be it with another TPM.
        """
        words = dict(word.partition("=")[::2] for word in argv if "=" in word)
        device = next(word for word in argv if word in DEVICES)
        before = read_slots(self.metadata(device)).programs
        if "--tpm2-device" not in words:
            for old in before:
                self.real("luksKillSlot", "--batch-mode", str(self.at(device)), old)
                self._drop_tokens(str(self.at(device)), old)
            return Result(0, b"", b"")
        if before and "--tpm2-with-pin" not in words:
            return Result(0, b"", b"This PCR set is already enrolled, executing no operation.\n")
        if "--unlock-key-file" not in words:
            return self._wipe(device, before)
        passphrase = self.root / "run/tpm-passphrase"
        folder = self._environment.get("CREDENTIALS_DIRECTORY")
        pin = Path(folder, PIN_CREDENTIAL).read_bytes() if folder else b"unsealed"
        passphrase.write_bytes(pin)
        adding = ("luksAddKey", "--batch-mode", "--pbkdf", "pbkdf2")
        force = ("--pbkdf-force-iterations", "1000", "--key-file", words["--unlock-key-file"])
        people = read_slots(self.metadata(device)).people
        file = str(self.at(device))
        added = self.real(*adding, *force, file, str(passphrase), check=False)
        if added.status:
            return added
        (slot,) = set(read_slots(self.metadata(device)).people) - set(people)
        token = {**self.token, "type": "systemd-tpm2", "keyslots": [slot]}
        importing = ("token", "import", "--json-file", "-", file)
        self.real(*importing, stdin=json.dumps(token).encode())
        return self._wipe(device, before)

    def _wipe(self, device: str, slots: Sequence[str]) -> Result:
        file = str(self.at(device))
        for slot in slots:
            self.real("luksKillSlot", "--batch-mode", file, slot)
            self._drop_tokens(file, slot)
        return Result(0, b"", b"")

    def _drop_tokens(self, file: str, slot: str) -> None:
        """Those that name no slot any more."""
        dumped = self.real("luksDump", "--dump-json-metadata", file).text()
        for number, token in json.loads(dumped)["tokens"].items():
            if not token["keyslots"] or token["keyslots"] == [slot]:
                self.real("token", "remove", "--token-id", number, file)


OPENING = ("open", "--test-passphrase", "--disable-external-tokens", "--key-file", "-")


def possible() -> bool:
    """Whether cryptsetup is installed."""
    try:
        process.run(["cryptsetup", "--version"], seconds=SECONDS)
    except errors.MissingError:
        return False
    return True
