"""The screen in English."""

from node.texts import Texts
from pairing.events import State

TEXTS = Texts(
    states={
        State.WAITING: "Photograph this screen and send the photo",
        State.CLAIMED: "Photo received. Please wait",
        State.APPROVED: "Machine accepted. Please wait",
        State.REFUSED: "Installation refused. Call your contact",
        State.PLANNED: "The installation starts soon",
        State.INSTALLING: "Installation in progress. Please wait",
        State.WRITTEN: "Done. The disk is ready",
        State.REBOOTING: "The machine restarts now",
        State.INSTALLED: "Done. The machine is installed",
        State.JOINED: "Done. The machine is connected",
        State.READY: "Done. The machine is ready",
        State.LOCKED: "Machine locked. Call and read the code",
        State.FAILED: "Installation failed. Call and read the code",
    },
    keep_on="Do not switch off",
    may_switch_off="You may switch off",
    abort="Not expected? Switch off within {seconds} seconds",
    step="Step {number} of {steps}",
    steps={
        "check-image": "Checking the new system",
        "check-disk": "Checking the disk",
        "escrow-key": "Handing over the recovery key",
        "wipe-tables": "Clearing the disk",
        "write-disk": "Copying the system to the disk",
        "bind-tang": "Setting up automatic unlocking",
        "prove-key": "Testing the recovery key",
        "boot-entries": "Setting how the machine starts",
        "mark-complete": "Finishing the installation",
    },
    read_aloud="Read this code aloud",
    compare="Compare these words",
    rehearsal="Rehearsal: the disk is not changed",
    rehearsed="Rehearsal done. Nothing was changed",
    too_small="This screen is too small for the code",
    machine="Machine",
    operator="Operator",
    serial="Serial no.",
    address="Address",
    no_address="no network yet",
    relay="Relay",
    repair="Repaired remotely by",
)
