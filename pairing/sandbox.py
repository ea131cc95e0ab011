"""What a process gives up before it touches untrusted bytes: network, files, programs, memory.

Called by a child on itself. Linux on x86_64 and aarch64 gets everything; elsewhere what the
system offers. `lock_down` says what took hold. Sources: prctl(2), seccomp(2), user_namespaces(7),
and the system call tables of the two architectures.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass

MEMORY_LIMIT = 768 * 1024 * 1024
FILE_LIMIT = 16
"""Open files, standard streams included."""
_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_THREAD = 0x10000000, 0x40000000, 0x00010000
_RET_ALLOW, _RET_ERRNO, _RET_KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16


@dataclass(frozen=True, slots=True)
class Architecture:
    """A kernel ABI: its audit number, the calls to refuse, `clone` and `clone3`."""

    audit: int
    refused: tuple[int, ...]
    clone: int
    clone3: int


# In this order: socket connect accept sendto sendmsg bind listen socketpair accept4 sendmmsg |
# execve execveat ptrace process_vm_readv process_vm_writev kill tkill tgkill pidfd_open
# pidfd_send_signal pidfd_getfd | openat openat2 open_by_handle_at name_to_handle_at memfd_create
# unlinkat renameat2 linkat symlinkat mkdirat mknodat | mount umount2 pivot_root chroot setns
# unshare bpf perf_event_open userfaultfd io_uring_setup add_key request_key keyctl
# (io_uring_setup: a ring opens sockets and files past this filter.)
_X86_64 = Architecture(
    audit=0xC000003E,
    refused=(
        *(41, 42, 43, 44, 46, 49, 50, 53, 288, 307),
        *(59, 322, 101, 310, 311, 62, 200, 234, 434, 424, 438),
        *(257, 437, 304, 303, 319, 263, 316, 265, 266, 258, 259),
        *(165, 166, 155, 161, 308, 272, 321, 298, 323, 425, 248, 249, 250),
        # Only x86 has these: fork vfork open creat unlink rename link symlink mkdir mknod
        *(57, 58, 2, 85, 87, 82, 86, 88, 83, 133),
    ),
    clone=56,
    clone3=435,
)
_AARCH64 = Architecture(
    audit=0xC00000B7,
    refused=(
        *(198, 203, 202, 206, 211, 200, 201, 199, 242, 269),
        *(221, 281, 117, 270, 271, 129, 130, 131, 434, 424, 438),
        *(56, 437, 265, 264, 279, 35, 276, 37, 36, 34, 33),
        *(40, 39, 41, 51, 268, 97, 280, 241, 282, 425, 217, 218, 219),
    ),
    clone=220,
    clone3=435,
)
ARCHITECTURES = {"x86_64": _X86_64, "aarch64": _AARCH64}


def lock_down() -> tuple[str, ...]:
    """Give everything up; to be called once, with all modules and libraries loaded.

    Returns what took hold: of `limits`, `no-new-privileges`, `no-network`, `system-calls`.
    """
    held: list[str] = []
    if _limit():
        held.append("limits")
    if sys.platform != "linux":
        return tuple(held)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        held.append("no-new-privileges")
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        held.append("no-network")
    architecture = ARCHITECTURES.get(os.uname().machine)
    if architecture and sys.maxsize > 2**32 and _filter(libc, architecture):
        held.append("system-calls")
    return tuple(held)


def allow_cpu(seconds: int) -> None:
    """From now on `seconds` more of CPU time; past them the kernel ends this process."""
    try:
        import resource
    except ImportError:  # Windows
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _limit() -> bool:
    try:
        import resource
    except ImportError:  # Windows
        return False
    wanted = (
        (resource.RLIMIT_AS, MEMORY_LIMIT),
        (resource.RLIMIT_NOFILE, FILE_LIMIT),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    )
    for what, value in wanted:
        try:
            resource.setrlimit(what, (value, value))
        except (OSError, ValueError):  # macOS knows RLIMIT_AS but refuses to set it
            return False
    return True


def _filter(libc: ctypes.CDLL, architecture: Architecture) -> bool:
    code = program(architecture)
    buffer = ctypes.create_string_buffer(code)
    # struct sock_fprog: unsigned short, padding, pointer.
    fprog = struct.pack("@HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    prog = ctypes.create_string_buffer(fprog)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, prog, 0, 0) == 0)


def program(architecture: Architecture) -> bytes:
    """The filter in classic BPF: foreign ABIs die, refused calls get EPERM, threads may start."""
    refuse, allow = _RET_ERRNO | errno.EPERM, _RET_ALLOW
    code = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, _RET_KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, 0x40000000),  # x32: the same calls under other numbers
        (_RETURN, 0, 0, _RET_KILL),
        # clone3 hides its flags behind a pointer; without it the C library falls back to clone.
        (_EQUAL, 0, 1, architecture.clone3),
        (_RETURN, 0, 0, _RET_ERRNO | errno.ENOSYS),
        (_EQUAL, 0, 4, architecture.clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_BITS, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, allow),
        *_each(architecture.refused, refuse),
        (_RETURN, 0, 0, allow),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in code)


def _each(numbers: Iterable[int], verdict: int) -> Iterable[tuple[int, int, int, int]]:
    for number in numbers:
        yield (_EQUAL, 0, 1, number)
        yield (_RETURN, 0, 0, verdict)
