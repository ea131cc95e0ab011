"""What this machine's TPM answers to an operator that asks for a proof of its endorsement key."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from node.system.endorsement import Endorsement
from pairing import errors, tpmcredential
from pairing.protocol.tpmproof import (
    ActivateTpm,
    ShowTpm,
    TpmActivated,
    TpmAnswer,
    TpmKeys,
    TpmQuestion,
    TpmUnproved,
)

LOG = logging.getLogger("kairos.node")
RECORDED = "it is a rehearsal on recorded hardware"


@dataclass(slots=True)
class TpmAnswers:
    """One question at a time. `open_tpm` is None where there is no real machine below."""

    open_tpm: Callable[[], Endorsement] | None = Endorsement
    _tpm: Endorsement | None = None
    _turn: trio.Lock = field(default_factory=trio.Lock)

    async def answer(self, question: TpmQuestion, node_key: bytes, lease: bytes) -> TpmAnswer:
        """The answer, for this node and lease; a failure is one too."""
        if self.open_tpm is None:
            return TpmUnproved(text=RECORDED)
        if self._turn.locked():
            return TpmUnproved(text="it is still busy with the question before")
        async with self._turn:
            try:
                return await self._ask(question, node_key, lease)
            except (errors.MissingError, OSError) as wrong:
                LOG.warning("TPM: %s", wrong)
                self._forget()
                said = wrong.sentence if isinstance(wrong, errors.MissingError) else "a file fails"
                return TpmUnproved(text=said[:500])

    async def _ask(self, question: TpmQuestion, node_key: bytes, lease: bytes) -> TpmAnswer:
        assert self.open_tpm is not None
        if isinstance(question, ShowTpm):
            self._forget()
            self._tpm = self.open_tpm()
            shown = await trio.to_thread.run_sync(self._tpm.show)
            return TpmKeys(
                endorsement=shown.endorsement,
                attestation=shown.attestation,
                certificate=shown.certificate,
            )
        if self._tpm is None or not isinstance(question, ActivateTpm):
            return TpmUnproved(text="it was not asked for its keys first")
        made = tpmcredential.Credential(question.blob, question.seed)
        secret = await trio.to_thread.run_sync(self._tpm.activate, made.file)
        self._forget()
        return TpmActivated(mac=tpmcredential.answer(secret, node_key, lease))

    def _forget(self) -> None:
        if self._tpm is not None:
            self._tpm.close()
            self._tpm = None
