"""The machine's clock: set forward from the operator's signed manifest, never back."""

from __future__ import annotations

import time


def set_forward(unix: int) -> bool:
    """Set the clock to `unix` seconds if it is behind. True if it was set.

    A node without a battery believes that it is 1970; certificates and k3s need better. Without
    the right to set it (no root) the clock stays.
    """
    if unix <= time.time():
        return False
    try:
        time.clock_settime(time.CLOCK_REALTIME, float(unix))
    except OSError:
        return False
    return True
