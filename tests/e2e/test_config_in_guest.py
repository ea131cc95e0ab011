"""A config applied by `kairos-node stage` in a virtual machine: real kernel, real systemd."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator

import pytest

from node.testing import guest
from node.testing.shop import board
from pairing.testing import guest_system, netns, qemu
from pairing.testing.lan import lan
from tests.e2e.conftest import ARTEFACTS, BOOT_SECONDS, TOOLS, fresh

pytestmark = pytest.mark.timeout(900)  # the first one waits for the machine

PROGRAM = "/opt/kairos-register/bin/kairos-node"
CANARY = "canary7f3a9c51"
HASH = "$6$rounds=100000$abcdefgh$" + "a" * 86
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEQpkwZQBKoeTEj03QFYGUwCNJvMZkzZbkAOommRio1R operator"
CONFIG = f"""#cloud-config
hostname: shop-17.example
users:
  - name: ana
    groups: [admin]
    passwd: {HASH}
    ssh_authorized_keys: ["{KEY}"]
sysctl: {{net.ipv4.ip_forward: 1}}
environment: {{SITE: lisbon}}
write_files:
  - path: /etc/systemd/system/hello.service
    content: |
      [Unit]
      Description=Says hello
      [Service]
      Type=oneshot
      RemainAfterExit=yes
      ExecStart=/usr/bin/touch /run/hello
      [Install]
      WantedBy=multi-user.target
  - path: /srv/shop/sign
    owner: ana:admin
    permissions: 0640
    content: open
runcmd:
  - [touch, /run/network-came]
stages:
  boot:
    - name: hello
      if: test -e /etc/systemd/system/hello.service
      systemctl: {{enable: [hello.service], mask: [e2scrub_all.timer]}}
    - name: driver
      modules: [loop]
      commands:
        - id ana > /run/who
    - name: never
      if: "false"
      commands: [touch /run/never]
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[qemu.Machine]:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (as root: .ci/packages)")
    if not netns.possible():
        pytest.skip("needs root and network namespaces")
    image = guest.image(ARTEFACTS)
    boot = qemu.Boot(
        kernel=image.kernel, initramfs=image.initramfs, words=guest_system.KERNEL_WORDS
    )
    with lan(fresh(ARTEFACTS / "config-lan")) as network:
        hardware = board(network.tap(40), 40)
        folder = fresh(ARTEFACTS / "config")
        with qemu.running(hardware, boot, folder, network.entry) as started:
            guest_system.journal(started).wait_for("code drawn", BOOT_SECONDS)
            put(started, "/run/c.yaml", CONFIG)
            yield started


def answer(machine: qemu.Machine, command: str) -> str:
    """What a shell in the guest answers, without the echo of the terminal."""
    said = guest_system.ask(machine, f"echo; echo '<<'; {command}; echo; echo '>>'")
    found = re.search(r"^<<\n(.*?)^>>$", said, re.DOTALL | re.MULTILINE)
    assert found, said
    return found[1].strip()


def put(machine: qemu.Machine, path: str, text: str) -> None:
    """Write a file by the shell: a line of a terminal holds 4096 characters."""
    packed = base64.b64encode(text.encode()).decode()
    guest_system.ask(machine, f"mkdir -p $(dirname {path}); rm -f {path}.b64")
    for start in range(0, len(packed), 1000):
        part = packed[start : start + 1000]
        guest_system.ask(machine, f"echo {part} >> {path}.b64")
    guest_system.ask(machine, f"base64 -d {path}.b64 > {path}; rm {path}.b64")


def stage(machine: qemu.Machine, name: str) -> str:
    """Apply a stage; what it said."""
    mark = "status of it:"
    said = answer(machine, f"{PROGRAM} stage {name} --config /run/c.yaml; echo {mark} $?")
    assert f"{mark} 0" in said, said
    return said


def test_the_whole_config_is_in_force(machine: qemu.Machine) -> None:
    said = stage(machine, "boot")
    assert "never: left out" in said
    expected = {
        "cat /proc/sys/kernel/hostname": "shop-17.example",
        "id -un ana; id -Gn ana": "ana\nana admin",
        "grep -c 'uid=1000(ana) gid=1000(ana).*(admin)' /run/who": "1",
        "getent passwd ana": "ana:x:1000:1000::/home/ana:/bin/bash",
        "getent shadow ana | cut -c1-20": f"ana:{HASH}"[:20],
        "stat -c '%U:%G %a' /srv/shop/sign": "ana:admin 640",
        "stat -c '%U %a' /home/ana/.ssh/authorized_keys": "ana 600",
        "cat /proc/sys/net/ipv4/ip_forward": "1",
        "systemctl is-active hello.service": "active",
        "systemctl is-enabled hello.service e2scrub_all.timer": "enabled\nmasked",
        "ls /run/hello /run/never 2>&1 | grep -c hello": "1",
        "ls /run/network-came 2>/dev/null | wc -l": "0",
        "cat /etc/environment": 'SITE="lisbon"',
        "grep -c ^loop /proc/modules": "1",
        "su ana -c 'id -un; cat /srv/shop/sign'": "ana\nopen",
    }
    found = {command: answer(machine, command) for command in expected}
    assert found == expected


def test_again_changes_nothing_and_the_network_stage_follows(machine: qemu.Machine) -> None:
    stage(machine, "boot")
    stage(machine, "network")
    assert answer(machine, "ls /run/network-came") == "/run/network-came"
    listed = answer(machine, "ls /run/kairos-register/stages")
    assert listed.split() == ["boot.json", "network.json"]


def test_no_list_of_processes_shows_what_a_command_is(machine: qemu.Machine) -> None:
    """`ps`, asked by another user in the middle of it; the control finds what is an argument."""
    text = (
        "#cloud-config\nhostname: a\ninstall: {nousers: true}\nstages:\n  boot:\n"
        f"    - commands: ['touch /run/began; sleep 8; : {CANARY}']\n"
    )
    put(machine, "/run/c.yaml", text)
    control = f"(sh -c 'sleep 30; : control-{CANARY}' &)"
    # Written so that it does not find itself.
    pattern = f"[{CANARY[0]}]{CANARY[1:]}"
    look = f"grep -al {pattern} /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null"
    run = f"{PROGRAM} stage boot --config /run/c.yaml > /run/said 2>&1"
    wait = "for i in $(seq 200); do test -e /run/began && break; sleep 0.1; done"
    found = answer(machine, f"({run} &); {control}; {wait}; ls /run/began; {look} | wc -l")
    assert found == "/run/began\n1"
    assert answer(machine, "sleep 9; tail -1 /run/said").endswith("Run command 1 of 1")
