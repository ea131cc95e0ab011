"""Steps of an installation that keeps the data of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from node.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckData(Step):
    """Look whether the data volume is as it has to be, and its recovery key is there."""

    name: ClassVar[str] = "check-data"
    rehearsed: ClassVar[bool] = True
    disk: str
    volume: str
    encrypted: bool

    @property
    def text(self) -> str:
        how = "its recovery key opens it" if self.encrypted else "it is not encrypted"
        return f"Check that the data on {self.volume} can be taken over: {how}"

    @property
    def weight(self) -> int:
        return 5


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepData(Step):
    """Make the config's volume anew, and give the data volume the new recovery key.

    What opened the data before opens nothing afterwards.
    """

    name: ClassVar[str] = "keep-data"
    seconds: ClassVar[float] = 900.0
    destructive: ClassVar[bool] = True
    needs_key: ClassVar[bool] = True
    disk: str
    config: str
    """The volume that is made anew."""
    volume: str
    encrypted: bool
    tpm: bool
    """Enrol the TPM: it opens the volumes by itself."""
    pcrs: Sequence[int] = ()
    signed_pcrs: Sequence[int] = ()

    @property
    def text(self) -> str:
        key = ", under the new recovery key" if self.encrypted else ""
        return f"Make {self.config} anew and take the data on {self.volume} over{key}"

    @property
    def weight(self) -> int:
        return 20
