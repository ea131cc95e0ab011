"""Both ends of Kairos' protocol as a program, many pairings in one process: what stock peers meet.

Reads one JSON line: `{"send": [{"token", "payload": {...}}, ...]}` or `{"receive": [{"token"}]}`,
and writes one JSON line for each thing that happens: `number` of the pairing, `event`, `seconds`
since the program was told. `--bootstrap ADDRESS` and `--no-mdns` as the commands have them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from pairing import errors
from pairing.edgevpn import nettoken, session
from pairing.edgevpn.gossip import KairosNetwork
from pairing.edgevpn.payload import Payload
from pairing.edgevpn.session import Progress
from pairing.transport.p2p import EdgeVpn, warm_up


@dataclass(frozen=True, slots=True)
class Ends:
    """All pairings of one process."""

    network: KairosNetwork
    wait_seconds: float = 60.0
    began: float = field(default_factory=time.monotonic)

    def say(self, number: int, event: str, **more: object) -> None:
        """One line; the numbers count from 0 in the order of the request."""
        seconds = time.monotonic() - self.began
        print(
            json.dumps({"event": event, "number": number, "seconds": seconds, **more}), flush=True
        )

    async def all(self, request: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Every pairing at once, until all are over."""
        async with trio.open_nursery() as nursery:
            for number, one in enumerate(request.get("send", ())):
                nursery.start_soon(self._told, self.send, number, one)
            for number, one in enumerate(request.get("receive", ())):
                nursery.start_soon(self._told, self.receive, number, one)

    async def _told(self, end: Any, number: int, one: Mapping[str, Any]) -> None:
        try:
            await end(number, one)
        except errors.KnownError as error:
            self.say(number, "failed", exit=int(error.exit_code), error=str(error))

    async def send(self, number: int, one: Mapping[str, Any]) -> None:
        """The operator's end."""

        def tell(progress: Progress) -> None:
            self.say(number, progress.value)

        sent = await session.send(
            self.network,
            nettoken.parse(one["token"]),
            payload_of(one["payload"]),
            wait_seconds=self.wait_seconds,
            on_event=tell,
        )
        self.say(number, "over", acknowledged=sent.acknowledged)

    async def receive(self, number: int, one: Mapping[str, Any]) -> None:
        """The node's end; it goes on answering for a while after `received`."""
        token = nettoken.parse(one["token"])
        async with trio.open_nursery() as nursery:
            payload = await nursery.start(session.receive, self.network, token)
            self.say(number, "received", payload=body_of(payload))
        self.say(number, "finished")


def payload_of(body: Mapping[str, str]) -> Payload:
    """From Kairos' map of texts."""
    return Payload(body["cc"], body.get("device", ""), "reboot" in body, "poweroff" in body)


def body_of(payload: Payload) -> Mapping[str, str]:
    """As Kairos' map of texts."""
    flags = {"reboot": payload.reboot, "poweroff": payload.poweroff}
    body = {"cc": payload.config, "device": payload.device}
    return body | {name: "" for name, given in flags.items() if given}


def main(arguments: Sequence[str]) -> None:
    """Say `started` when libp2p is loaded, then do what the line asks for."""
    bootstrap = (
        [arguments[arguments.index("--bootstrap") + 1]] if "--bootstrap" in arguments else []
    )
    network = EdgeVpn(mdns="--no-mdns" not in arguments, bootstrap=bootstrap)
    warm_up()
    print(json.dumps({"event": "started", "seconds": time.process_time()}), flush=True)
    request = json.loads(sys.stdin.readline())
    trio.run(Ends(network).all, request)


if __name__ == "__main__":
    main(sys.argv[1:])
