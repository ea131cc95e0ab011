"""The steps of a build: frozen data. What a step does is its handler in `node.image.build`."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from node.step import PlanStep


class Medium(enum.StrEnum):
    """What an image can be written as, beside the files of an update."""

    STICK = "stick"
    ISO = "iso"
    OCI = "oci"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep(PlanStep):
    """One step of a build."""

    share: ClassVar[int] = 1
    """Its weight, with an empty cache."""

    @property
    def weight(self) -> int:
        return self.share


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeTools(BuildStep):
    """The tree with the programs that make images; kept for the next build."""

    name: ClassVar[str] = "tools"
    share: ClassVar[int] = 40
    suite: str

    @property
    def text(self) -> str:
        return f"Debian {self.suite}: the tools that make images"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeTree(BuildStep):
    """The root tree, from Debian's packages, an OCI image or a Dockerfile; kept."""

    name: ClassVar[str] = "tree"
    share: ClassVar[int] = 60
    origin: str
    kernel: str = ""
    packages: Sequence[str] = ()

    @property
    def text(self) -> str:
        count = len(self.packages)
        plural = "" if count == 1 else "s"
        more = f", and {count} package{plural} of the recipe" if count else ""
        kernel = f", {self.kernel} kernel" if self.kernel else ""
        return f"Root tree from {self.origin}{kernel}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTree(BuildStep):
    """Does the tree hold what a node needs? Asked before anything is built from it."""

    name: ClassVar[str] = "check-tree"

    @property
    def text(self) -> str:
        return "Check the tree: systemd, dracut, cryptsetup, kernel, Python"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPython(BuildStep):
    """The locked Python packages, byte-compiled; kept."""

    name: ClassVar[str] = "python"
    share: ClassVar[int] = 30

    @property
    def text(self) -> str:
        return "Python packages of the lock file, byte-compiled"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeInitrd(BuildStep):
    """The initrd; kept."""

    name: ClassVar[str] = "initrd"
    share: ClassVar[int] = 30

    @property
    def text(self) -> str:
        return "Initrd by dracut, for any machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchProgram(BuildStep):
    """A program that comes from elsewhere; kept."""

    name: ClassVar[str] = "fetch"
    share: ClassVar[int] = 5
    program: str
    source: str
    sha256: str

    @property
    def text(self) -> str:
        return f"Fetch {self.program} from {self.source} (SHA-256 {self.sha256[:12]}...)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRoot(BuildStep):
    """Everything laid over one another, as squashfs with the hash tree of dm-verity."""

    name: ClassVar[str] = "root"
    share: ClassVar[int] = 15
    version: str

    @property
    def text(self) -> str:
        return f"Root {self.version}: squashfs and dm-verity"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildKernels(BuildStep):
    """The unified kernel images that are installed, and the loader."""

    name: ClassVar[str] = "kernels"
    share: ClassVar[int] = 3
    policy: bool
    signed: bool

    @property
    def text(self) -> str:
        policy = "with a signed PCR policy" if self.policy else "without PCR policy"
        return f"Kernels of the installed and the recovery system, {policy}" + (
            ", signed for Secure Boot" if self.signed else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FillBoot(BuildStep):
    """The medium's boot partition, with the live kernel that names all the rest by digest."""

    name: ClassVar[str] = "boot"
    share: ClassVar[int] = 3
    enrol: bool

    @property
    def text(self) -> str:
        return "Boot partition of the medium" + (
            "; its loader enrols the keys in the firmware" if self.enrol else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteMedium(BuildStep):
    """A file that machines boot from."""

    name: ClassVar[str] = "medium"
    share: ClassVar[int] = 3
    medium: Medium
    file: str

    @property
    def text(self) -> str:
        return f"Write {self.file}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishUpdate(BuildStep):
    """The files of an upgrade, their checksums and the signature, in this order."""

    name: ClassVar[str] = "update"
    share: ClassVar[int] = 2
    version: str
    signed: bool

    @property
    def text(self) -> str:
        how = "signed" if self.signed else "NOT signed: no machine takes them"
        return f"Files of the upgrade to {self.version}, {how}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteManifest(BuildStep):
    """What the image is made of: digests, versions, the list of packages."""

    name: ClassVar[str] = "manifest"
    file: str

    @property
    def text(self) -> str:
        return f"Write {self.file} and the list of packages (CycloneDX)"


STEP_TYPES: tuple[type[BuildStep], ...] = (
    MakeTools,
    MakeTree,
    CheckTree,
    AddPython,
    MakeInitrd,
    FetchProgram,
    PackRoot,
    BuildKernels,
    FillBoot,
    WriteMedium,
    PublishUpdate,
    WriteManifest,
)
