"""What an installation hands over to the installed system, besides the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


def _nothing() -> bytes:
    return b""


def _keep_nothing(folder: Path) -> None:
    """For an installation without an operator: there is no lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """The config with its secrets, and what the conversation with the operator leaves.

    `escrow` and `report` are asked for when the disk is written, after the escrow: the sealed key
    and the report record for the ESP, empty where there is none. `keep` is called with the folder
    of the open OEM volume and stores there what must survive the restart.
    """

    config: bytes = field(repr=False)
    escrow: Callable[[], bytes] = _nothing
    report: Callable[[], bytes] = _nothing
    keep: Callable[[Path], None] = _keep_nothing
