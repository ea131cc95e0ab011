"""Whether a relay answers: for doctors."""

from __future__ import annotations

import secrets

import trio

from pairing import errors
from pairing.transport import relay


async def probe(place: str, seconds: float) -> float:
    """Seconds until the relay at `place` answers.

    It is asked for a machine that does not exist: a good relay says that nobody waits.
    Raises errors.UnreachableError or errors.RelayAddressInvalid.
    """
    address = relay.RelayAddress.parse(place)
    began = trio.current_time()
    try:
        with trio.fail_after(seconds):
            stream = await relay.call(address, secrets.token_bytes(32), secrets.token_bytes(32))
            await stream.aclose()
    except errors.RelayNobody:
        pass
    except trio.TooSlowError:
        raise errors.RelayUnreachable(f"No answer within {seconds:g} s.", element=place) from None
    return trio.current_time() - began
