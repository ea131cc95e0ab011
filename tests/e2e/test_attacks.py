"""Two attacks of the matrix (`node.testing.attacks`), and what root can do on a machine.

The whole matrix: `make soak`. The control is the same machine with volumes that its TPM opens at
whatever start: there the same attacks lead to open volumes, and what they bring along is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from node.testing import attacks
from node.testing.attacks import MARK, WORD, Target
from node.testing.images import Factory
from node.testing.shop import NODE, OPEN, Shop
from node.testing.workshop import more_words
from pairing.testing.sampling import Watch
from tests.e2e.conftest import ARTEFACTS, SECRETS, fresh

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

OFF_SECONDS, STAGE_SECONDS = 120.0, 240.0
OUTSIDE = ("firmware-credentials", "found-partitions")
"""They change nothing that is measured, so the volumes open: nothing of them may be used."""
CLOSED = ("initrd",)
YES = "systemd.import_credentials=yes systemd.gpt_auto=yes systemd.swap=yes"
"""The unprotected variant: a system that takes what comes from outside of the image."""
AS_ROOT = {
    "a new file": "touch /usr/thief",
    "a writable root": "mount -o remount,rw / && touch /usr/thief",
    "the checked device": "dd if=/dev/zero of=/dev/mapper/root bs=4096 count=1",
    "a changed program": "cp /bin/true /usr/bin/hostnamectl",
}
"""What root may try, to change the system that runs."""
UNIT = "[Service]\\nExecStart=/bin/true\\n"
PLANT = (
    "echo thief > /etc/thief",
    "echo thief > /var/thief",
    f'printf "{UNIT}" > /etc/systemd/system/thief.service',
    "mkdir -p /etc/systemd/system/multi-user.target.wants",
    "ln -s ../thief.service /etc/systemd/system/multi-user.target.wants/",
    "mount --bind /bin/true /usr/bin/hostnamectl",
    "echo thief > /usr/local/thief",
)
"""What root can leave for as long as the machine runs; the last is data, and stays."""
PLANTED = "ls /etc/thief /var/thief /etc/systemd/system/thief.service /usr/local/thief"


@dataclass(slots=True)
class Seen:
    """What a run has shown: the start's end, the first serial line, answers by question."""

    came_to: str
    serial: str = ""
    said: dict[str, str] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    """Where secrets were seen while the config was applied; `control`: while they were shown."""
    control: set[str] = field(default_factory=set)
    journal: tuple[int, int] = (0, 0)
    rounds: int = 0


@pytest.fixture(scope="module")
def thief(factory: Factory) -> Callable[[Shop], Target]:
    """Puts a shop's machine into a thief's hands."""
    made = attacks.Thief.equipped(fresh(ARTEFACTS / "thief"), factory.recipe)
    return lambda shop: made.takes(shop.box)


@pytest.fixture(scope="module")
def shop(branch: Callable[[str], Shop]) -> Shop:
    return branch("attacked")


@pytest.fixture(scope="module")
def target(shop: Shop, thief: Callable[[Shop], Target]) -> Target:
    return thief(shop)


@pytest.fixture(scope="module")
def unmoved(shop: Shop, target: Target) -> Seen:
    """A start with everything added that no register measures; then root's attempts.

    It leaves the disk opened by the TPM at whatever start.
    """
    for attack in attacks.named(*OUTSIDE):
        attack.act(target)
    with shop.running(words=target.words, credentials=target.credentials) as machine:
        seen = Seen(shop.came_to(machine))
        ask_all(shop, seen)
        for what, command in AS_ROOT.items():
            seen.said[what] = root(shop, f"{command} 2>&1 && echo DONE")
        watched(shop, seen)
        for command in PLANT:
            root(shop, command)
        seen.said["planted"] = root(
            shop, f"{PLANTED}; cmp -s /bin/true /usr/bin/hostnamectl && echo same"
        )
        attacks.weaken(shop, shop.recovery_key())
        shop.on("sudo -n systemctl --no-block poweroff")
        machine.wait_off(OFF_SECONDS)
        seen.serial = machine.serial[0].text()
    return seen


@pytest.fixture(scope="module")
def weak(unmoved: Seen, shop: Shop, target: Target) -> Seen:
    """The control: every attack at once, where nothing but the TPM itself is asked for."""
    for attack in attacks.named("words"):
        attack.act(target)
    parts = attacks.with_program(more_words(target.kernel(), YES))
    target.disk.write(attacks.KERNEL, target.workshop.together(parts))
    with shop.running(words=target.words, credentials=target.credentials) as machine:
        seen = Seen(shop.came_to(machine))
        ask_all(shop, seen)
        seen.said["planted"] = root(
            shop, f"{PLANTED}; cmp -s /bin/true /usr/bin/hostnamectl && echo same"
        )
        seen.serial = machine.serial[0].text()
    return seen


def test_what_is_added_outside_of_the_image_is_not_used(unmoved: Seen) -> None:
    assert unmoved.came_to == OPEN
    assert MARK not in unmoved.serial
    assert unmoved.said["swap"].count("\n") == 0, "a heading, and no swap"
    assert "thief" not in unmoved.said["homes"]
    assert WORD not in unmoved.said["words"]


@pytest.mark.parametrize("what", AS_ROOT)
def test_root_cannot_change_the_running_system(unmoved: Seen, what: str) -> None:
    assert "DONE" not in unmoved.said[what]


def test_no_secret_shows_while_the_config_is_applied(unmoved: Seen) -> None:
    """In no command line, no environment, not in the journal; the control shows one in each."""
    assert unmoved.rounds >= 3
    assert unmoved.shown == set()
    assert {"cmdline of sh", "environ of sleep"} <= unmoved.control
    assert unmoved.journal[0] == 0
    assert unmoved.journal[1] > 0


@pytest.mark.soak
def test_without_a_policy_the_same_attacks_open_the_volumes(weak: Seen) -> None:
    """The control of this file, and of the matrix."""
    assert weak.came_to == OPEN
    assert MARK in weak.serial
    assert WORD in weak.said["words"]
    assert "/dev/vda" in weak.said["swap"]
    assert "thief" in weak.said["homes"]


@pytest.mark.soak
def test_nothing_that_root_left_in_the_system_survives_a_start(unmoved: Seen, weak: Seen) -> None:
    assert set(unmoved.said["planted"].split()) == {*PLANTED.split()[1:], "same"}
    assert weak.said["planted"].split() == ["/usr/local/thief"]


@pytest.mark.parametrize("name", CLOSED)
def test_a_changed_start_stays_locked(
    name: str, branch: Callable[[str], Shop], thief: Callable[[Shop], Target]
) -> None:
    (attack,) = attacks.named(name)
    shop = branch(f"attacked-by-{name}")
    attacks.check(attack, shop, thief(shop))


# --- what the tests use -----------------------------------------------------------------------


def root(shop: Shop, command: str) -> str:
    """What root's shell on the machine answers, whatever its exit status."""
    quoted = command.replace("'", "'\\''")
    return shop.on(f"sudo -n sh -c '{quoted}' 2>/dev/null; true", STAGE_SECONDS)


def ask_all(shop: Shop, seen: Seen) -> None:
    seen.said["swap"] = shop.on("cat /proc/swaps")
    seen.said["homes"] = shop.on("ls /home")
    seen.said["words"] = shop.on("cat /proc/cmdline")


def watched(shop: Shop, seen: Seen) -> None:
    """Apply the config once more, and look at all programs meanwhile."""
    # What the config puts into the environment of all is meant to be there.
    secrets = {name: secret for name, secret in SECRETS.items() if name != "environment"}
    watch = Watch(lambda command: root(shop, command), secrets)
    for stage in ("initramfs", "fs", "boot", "network", "reconcile"):
        root(shop, f"{NODE} stage {stage}")
    seen.rounds, seen.shown = watch.rounds, watch.found()
    before = watch.in_journal()
    watch.show()
    seen.control, seen.journal = watch.found(), (before, watch.in_journal())
    watch.end()
