"""A fleet's certificate for one of its stations, on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from pairing import keys
from pairing.protocol import wire
from pairing.protocol.wire import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class StationCertificate(Record):
    """`keys.Certificate` on the wire."""

    fleet: bytes = wire.wire(wire.blob(32))
    station: bytes = wire.wire(wire.blob(32))
    sequence: int = wire.wire(wire.number())
    name: str = wire.wire(wire.text(100))
    signature: bytes = wire.wire(wire.blob(64))

    def read(self) -> keys.Certificate:
        """The certificate itself; not checked yet."""
        return keys.Certificate(self.fleet, self.station, self.sequence, self.name, self.signature)
