"""A stock machine's ssh in our terminal: the password's way, the handed-over socket, the ends."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing

from cli.rescue_ssh import SshSession, command_line
from pairing import errors, handover, process
from pairing.protocol.repair import Opened

PASSWORD = "q7QmZ2a"
ASKS = 'stty -echo; printf "root@kairos-machine\'s password: "; read -r given; stty echo; '
ACCEPTS = f'test "$given" = {PASSWORD} || {{ echo Permission denied; exit 255; }}; echo MARK; '


@dataclass
class Front:
    """The operator: presses what is given, sees what is shown."""

    pressed: list[bytes] = field(default_factory=list)
    seen: bytearray = field(default_factory=bytearray)
    opened_for: int = 0

    def opened(self, opened: Opened) -> None:
        self.opened_for = opened.seconds

    async def keys(self) -> bytes:
        if not self.pressed:
            await trio.sleep_forever()
        return self.pressed.pop(0)

    async def show(self, data: bytes) -> None:
        self.seen += data

    async def size_changed(self) -> tuple[int, int]:
        await trio.sleep_forever()
        raise AssertionError


async def session(front: Front, script: str, *, seconds: int = 30, connect: float = 20) -> int:
    """A shell script in ssh's place: a real program on a real terminal."""
    ours, _theirs = trio.testing.memory_stream_pair()
    run = SshSession(front, PASSWORD, seconds, connect, ["sh", "-c", script])  # type: ignore[arg-type]
    return await run.run(ours)


async def test_the_password_is_typed_at_the_prompt_and_never_shown() -> None:
    front = Front()
    status = await session(front, ASKS + ACCEPTS + "echo welcome; exit 3")
    assert status == 3
    assert b"welcome" in front.seen
    assert PASSWORD.encode() not in front.seen
    assert front.opened_for == 30


async def test_keys_get_there_and_answers_come_back() -> None:
    front = Front([b"hello\n"])
    await session(front, ASKS + ACCEPTS + 'read -r line; echo "got $line"')
    assert b"got hello" in front.seen


async def test_a_password_that_is_refused_is_said_so() -> None:
    front = Front()
    with pytest.raises(errors.RecoveryPasswordRefused):
        await session(front, ASKS + "echo 'Permission denied, please try again.'; exit 255")
    assert not front.opened_for


async def test_who_asks_for_no_password_gets_none() -> None:
    with pytest.raises(errors.RescueCut):
        await session(Front(), "echo something else; exit 255")


async def test_an_ssh_that_says_nothing_ends_in_time() -> None:
    with pytest.raises(errors.RescueCut):
        await session(Front(), "exec sleep 50", connect=0.5)


async def test_a_session_ends_at_its_limit() -> None:
    front = Front()
    with pytest.raises(errors.RescueTimeUp):
        await session(front, ASKS + ACCEPTS + "exec sleep 50", seconds=1)


async def test_the_operator_can_hang_up_and_a_lost_connection_is_named() -> None:
    left = ASKS + ACCEPTS + "trap 'exit 255' HUP; while :; do sleep 0.1; done"
    assert await session(Front([b""]), left) == 0
    with pytest.raises(errors.RescueCut):
        await session(Front(), ASKS + ACCEPTS + "exit 255")


def test_neither_arguments_nor_environment_of_ssh_hold_the_password() -> None:
    argv = command_line(Path("/tmp/x/way"), "open-1")
    assert PASSWORD not in " ".join(argv)
    assert argv[:3] == ["ssh", "-F", "none"]
    for option in ("PubkeyAuthentication=no", "ForwardAgent=no", "IdentityAgent=none"):
        assert option in argv


def test_a_socket_is_handed_over(tmp_path: Path) -> None:
    place = str(tmp_path / "way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(place)
        listening.listen(1)
        ssh, ours = socket.socketpair()
        handover.hand_over(place, ours.detach())
        _, (fd,), _, _ = socket.recv_fds(ssh, 16, 1)
        with socket.socket(fileno=fd) as handed, listening.accept()[0] as theirs, ssh:
            theirs.sendall(b"SSH-2.0-x")
            assert handed.recv(16) == b"SSH-2.0-x"


async def test_the_real_ssh_reaches_the_stream_and_no_port_is_opened() -> None:
    """Real ssh, real hand-over; the other end is no ssh server, and the failure is named."""
    ours, theirs = trio.testing.memory_stream_pair()
    heard = bytearray()

    async def refuse() -> None:
        heard.extend(await theirs.receive_some(100))
        await theirs.aclose()

    run = SshSession(Front(), PASSWORD, 30, 20)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        with pytest.raises(errors.RescueCut):
            await run.run(ours)
    assert heard.startswith(b"SSH-2.0-OpenSSH")


def test_python_of_the_hand_over_finds_us_in_a_clean_environment() -> None:
    done = process.run(
        [sys.executable, "-S", "-s", "-P", "-B", "-c", "import pairing.handover"],
        seconds=30,
        environment=process.import_environment(),
    )
    assert done.status == 0


async def test_without_ssh_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.rescue_ssh.process.PATH", "/nowhere")
    ours, _theirs = trio.testing.memory_stream_pair()
    run = SshSession(Front(), PASSWORD, 30, 20)  # type: ignore[arg-type]
    with pytest.raises(errors.CommandMissing) as missing:
        await run.run(ours)
    assert missing.value.element == "ssh"
