"""How long a test waits for emulated machines: on one that does other things at the same time, set
KAIROS_TEST_PATIENCE to how much longer than on an idle one (1). It only moves deadlines.
"""

from __future__ import annotations

import os

TIMES = float(os.environ.get("KAIROS_TEST_PATIENCE", "1"))


def patient(seconds: float) -> float:
    """The seconds to wait here, where an idle machine gets `seconds`."""
    return seconds * TIMES
