"""Who may open a terminal on a node: the rules, pure.

| the node | who may |
|---|---|
| its image pins fleets (O1) | a station of one of them: nobody else gets a lease at all |
| was installed from an open image (O0) | the operator of that lease, or a station of its fleet |
| the same, locked | nobody: start its recovery system |
| open image, never installed | nobody, unless the image's settings say `rescue: open` |
| installed and unlocked | nobody: it has its own ways in |

What a terminal is asked for is signed by the lease's operator, for this node and lease.

Who installed a machine is read from its boot partition, which whoever holds the disk can write. In
the recovery system that is worth little: no TPM gives it a key of the disk. The installed system is
the one that the TPM does give it to, so there only what the image itself pins counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from pairing import errors, keys
from pairing.events import Mode
from pairing.protocol import handshake
from pairing.protocol.certificate import StationCertificate
from pairing.protocol.kept import ReportFile
from pairing.protocol.tenancy import Tenancy
from pairing.protocol.terminal import OpenTerminal, TerminalOrder

RESCUE_DOMAIN = "rescue"
SECONDS = 1800
"""Of a session, unless less is asked for; a node never grants more than its settings say."""
IDLE_SECONDS = 600
"""Without a key pressed."""
OFFERED = frozenset({Mode.LIVE, Mode.RECOVERY, Mode.LOCKED})
"""The boots in which there is a terminal at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueRules:
    """What a node knows about who may repair it. Times in seconds.

    `installed` is the record beside the boot files of its disk, None if it was never installed.
    `unowned`: the image lets anybody with the photo repair a machine that nobody owns.
    """

    mode: Mode = Mode.LIVE
    offered: bool = True
    """False where this is no booted image: a rehearsal, somebody's own computer."""
    pinned: bool = False
    """The image pins fleets: whoever holds the lease is a station of one of them."""
    installed: ReportFile | None = None
    unowned: bool = False
    seconds: int = SECONDS
    idle: int = IDLE_SECONDS

    def admit(self, message: OpenTerminal, held: Tenancy, node_key: bytes) -> TerminalOrder:
        """The order within our limits.

        Raises errors.RescueRefused, or errors.BadProof if it is not the lease's operator's.
        """
        order = message.order
        meant = order.node == node_key and order.lease == held.lease
        body = handshake.signed_body(order)
        if not meant or not keys.verified(held.operator, RESCUE_DOMAIN, body, message.signature):
            raise errors.BadProof("The order is not signed by this operator for this node.")
        if objection := self._objection(held, message.certificate):
            raise errors.RescueRefused(objection)
        return TerminalOrder(
            node=order.node,
            lease=order.lease,
            session=order.session,
            seconds=min(order.seconds or self.seconds, self.seconds),
            idle=min(order.idle or self.idle, self.idle),
            time=order.time,
        )

    def _objection(self, held: Tenancy, certificate: StationCertificate | None) -> str:
        if not self.offered:
            return "It runs no image of ours: its shell is somebody else's."
        if self.mode not in OFFERED:
            return "It is installed and unlocked: log in to it."
        if self.pinned:
            return ""
        if self.mode is Mode.LOCKED:
            return "It is locked, and its image pins no fleet: start its recovery system."
        if self.installed is None:
            return "" if self.unowned else "Nobody owns it, and its image pins no fleet."
        if held.operator == self.installed.operator or _vouched(
            certificate, self.installed.fleet, held.operator
        ):
            return ""
        return f"It belongs to {keys.fingerprint(self.installed.operator)}."


def _vouched(shown: StationCertificate | None, fleet: bytes, operator: bytes) -> bool:
    """Whether the fleet that the node was installed by vouches for this operator.

    Revocations are not known here: they come with images, and this image pins nothing.
    """
    if shown is None or not fleet:
        return False
    try:
        keys.PinnedFleet(fleet).check(shown.read(), operator)
    except errors.NotAuthenticError:
        return False
    return True
