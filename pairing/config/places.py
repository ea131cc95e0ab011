"""Where a config may not write: what the kernel makes, and what the system starts, keeps, trusts.

The same list is held against a config before it is sent, and against each real path when it is
applied (`node.stages.inside`): a link may lead there too.
"""

from __future__ import annotations

RESERVED = (
    "/boot",
    "/dev",
    "/efi",
    "/etc/kairos-register",
    "/oem",
    "/opt/kairos-register",
    "/proc",
    "/run/kairos-register",
    "/sys",
    "/usr/lib/kairos-register",
    "/usr/local/.kairos",
)


def reserved(path: str) -> str:
    """The place of ours that holds `path` (absolute, without `..`); empty if none does."""
    parts = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
    return next((ours for ours in RESERVED if parts == ours or parts.startswith(f"{ours}/")), "")
