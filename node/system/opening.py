"""Opening the volumes. A failure writes nothing, neither to the TPM nor to a header."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

from node.plan.boot import OpenVolume
from node.plan.header import Header
from node.plan.locked import TpmView, why_locked
from node.system.door import Door
from node.system.reading import output
from node.system.tpmview import ASK_PROPERTIES, locked_out, tpm_view
from node.system.volumes import header_of
from pairing import errors

OPEN_SECONDS, CLEVIS_SECONDS = 120.0, 240.0
"""Clevis is some thirty programs in a row for one volume: minutes on a slow machine."""
ASK_TANG = (
    *("curl", "--silent", "--fail", "--output", "/dev/null", "--max-time", "10"),
    *("--retry", "30", "--retry-all-errors", "--retry-delay", "2", "--retry-max-time", "60"),
)
"""Again and again for a minute: the network may come later than the disk."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What an operator handed in: the recovery key, or the PIN of an approval."""

    kind: Literal["key", "pin"]
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens volumes with whatever opens them. `secret` is tried instead of what is missing."""

    root: Path
    run: Door
    secret: Secret | None = None
    diagnose: Callable[[Path, Door], TpmView] = tpm_view

    def open(self, step: OpenVolume) -> None:
        """Raises errors.LockedError, saying why."""
        if (self.root / "dev/mapper" / step.mapped).exists():
            return  # it would be reported as busy, which looks like a TPM that refuses
        if self.secret is not None and self.secret.kind == "key":
            self._by_key(step, self.secret)
        elif step.means == "tpm2":
            self._by_tpm(step)
        elif step.means == "approval":
            self._by_pin(step)
        elif step.means == "clevis":
            self._by_clevis(step)
        else:
            raise errors.KeyNeeded(element=step.label)

    def _by_key(self, step: OpenVolume, secret: Secret) -> None:
        # Without the option cryptsetup would ask the TPM first.
        argv = ("cryptsetup", "open", "--type", "luks2", "--disable-external-tokens")
        options = ("--key-file", "-", step.device, step.mapped)
        result = self.run(argv + options, seconds=OPEN_SECONDS, stdin=secret.value, check=False)
        if result.status:
            raise errors.UnlockFailed(element=step.label)

    def _by_tpm(self, step: OpenVolume) -> None:
        options = "tpm2-device=auto,headless=1,tries=1"
        argv = ("systemd-cryptsetup", "attach", step.mapped, step.device, "-", options)
        if self._succeeds(argv):
            return
        raise self._reason(step)(element=step.label)

    def _by_pin(self, step: OpenVolume) -> None:
        if self.secret is None:
            # A disk that would not open even with the approval is told at once.
            reason = self._reason(step)
            raise (errors.ApprovalNeeded if reason is errors.TpmRefuses else reason)(
                element=step.label
            )
        argv = ("cryptsetup", "open", "--type", "luks2", "--token-only")
        options = ("--token-type", "systemd-tpm2", step.device, step.mapped)
        if not self._succeeds(argv + options, self.secret.value):
            reason = self._reason(step)
            if reason is not errors.TpmRefuses:
                raise reason(element=step.label)
            said = output(self.run, ASK_PROPERTIES, seconds=OPEN_SECONDS)
            if said is not None and locked_out(said):
                raise errors.TpmRefuses(
                    "It is locked out after too many wrong tries.", element=step.label
                )
            raise errors.UnlockFailed(element=step.label)

    def _by_clevis(self, step: OpenVolume) -> None:
        for url in self._header(step).tang:
            if not self._succeeds((*ASK_TANG, f"{url}/adv")):
                raise errors.TangUnreachable(f"{url} does not answer.", element=step.label)
        argv = ("clevis", "luks", "unlock", "-d", step.device, "-n", step.mapped)
        if not self._succeeds(argv, seconds=CLEVIS_SECONDS):
            self._clevis_failed(step)

    def _clevis_failed(self, step: OpenVolume) -> NoReturn:
        """Each Tang server answers. A share of another TPM looks like a good one: clevis keeps
        nothing of whose it is."""
        header = self._header(step)
        servers = " and ".join(header.tang)
        if servers and not header.shares:
            removed = f"{servers} answers, but not with the key that was bound: was it removed?"
            raise errors.TangUnreachable(removed, element=step.label)
        reason = self._reason(step)
        doubt = reason is errors.TpmRefuses and servers
        detail = f"Or {servers} no longer has the key that was bound." if doubt else ""
        raise reason(detail, element=step.label)

    def _reason(self, step: OpenVolume) -> type[errors.LockedError]:
        view, header = self.diagnose(self.root, self.run), self._header(step)
        if sealed := (*header.tpm, *header.shares):
            try:
                return why_locked(sealed[0], view)
            except (ValueError, OverflowError):  # who has the disk writes its headers
                return errors.HeaderDamaged
        return errors.TpmRefuses if view.present else errors.TpmMissing

    def _header(self, step: OpenVolume) -> Header:
        header = header_of(step.device, self.run)
        if header is None:
            raise errors.HeaderDamaged(element=step.label)
        return header

    def _succeeds(
        self, argv: tuple[str, ...], stdin: bytes = b"", seconds: float = OPEN_SECONDS
    ) -> bool:
        """Whether the program says so; one that hangs or is not there does not open anything."""
        try:
            return self.run(argv, seconds=seconds, stdin=stdin, check=False).status == 0
        except errors.MissingError:
            return False
