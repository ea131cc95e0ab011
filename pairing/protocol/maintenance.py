"""Orders about the keys of an installed node's volumes: the signing and the checks, both pure."""

from __future__ import annotations

from collections.abc import Sequence

from pairing import errors, keys
from pairing.events import Mode
from pairing.protocol import handshake
from pairing.protocol.effects import CarryOut
from pairing.protocol.messages import ReportKey
from pairing.protocol.reportkey import PrivateReportKey
from pairing.protocol.requests import Maintain, MaintenanceOrder, Task
from pairing.protocol.tenancy import Tenancy

DOMAIN = "maintain"


def order(
    key: keys.SigningKey,
    report: ReportKey,
    boot: str,
    task: Task,
    *,
    escrow: Sequence[bytes],
    recovery: bytes,
    time: int,
) -> Maintain:
    """Signed by the operator's `key`. `recovery` is the present recovery key, empty to omit it."""
    context = handshake.unlock_context(report.key, report.lease, boot)
    made = MaintenanceOrder(
        node=report.node,
        lease=report.lease,
        boot=boot,
        task=task.value,
        escrow=tuple(escrow),
        sealed=keys.seal(recovery, report.seal, context) if recovery else b"",
        time=time,
    )
    return Maintain(order=made, signature=key.sign(DOMAIN, handshake.signed_body(made)))


def accept(message: Maintain, held: Tenancy, node: bytes, boot: str, mode: Mode) -> CarryOut:
    """What is to be done.

    Raises errors.Busy where it cannot be, errors.BadProof if it is not this operator's for this
    boot of this node, errors.ProtocolBroken for an unknown task.
    """
    asked = message.order
    if mode is not Mode.INSTALLED:
        raise errors.Busy("Only an installed node with open volumes changes their keys.")
    meant = (asked.node, asked.lease, asked.boot) == (node, held.lease, boot)
    body = handshake.signed_body(asked)
    if not meant or not keys.verified(held.operator, DOMAIN, body, message.signature):
        raise errors.BadProof("The order is not signed by this operator for this boot of the node.")
    if asked.task not in {task.value for task in Task}:
        raise errors.ProtocolBroken(f"Unknown task {asked.task[:40]!r}.")
    return CarryOut(Task(asked.task), asked.escrow, _recovery(asked, held))


def _recovery(asked: MaintenanceOrder, held: Tenancy) -> bytes:
    if not asked.sealed:
        return b""
    report = PrivateReportKey(held.report_seed)
    context = handshake.unlock_context(report.signing.public, held.lease, asked.boot)
    return report.sealing.open(asked.sealed, context)
