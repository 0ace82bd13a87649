"""System calls that are answered by this process: seccomp(2), seccomp_unotify(2).

Needs Linux 5.0 (notifications), 5.5 (SECCOMP_USER_NOTIF_FLAG_CONTINUE) and 5.9
(SECCOMP_IOCTL_NOTIF_ADDFD). From 5.19 on, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV keeps signals (Go
programs send themselves many) from interrupting a call that has been received.

A notified call may point to memory of a process that has died, and whose pid has been reused: call
`still_valid` after reading the memory, and before using the data.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
import time
from enum import Enum

from sockact.core.record import dataclass
from sockact.kernel import bpf
from sockact.kernel.libc import MACHINE, no_new_privileges, per_machine, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_SECCOMP = per_machine(317, 277)
_SET_MODE_FILTER = 1
_GET_ACTION_AVAIL = 2
_GET_NOTIF_SIZES = 3
_SPEC_ALLOW = 1 << 2
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE_RECV = 1 << 5

_RET_ALLOW = 0x7FFF0000
_RET_USER_NOTIF = 0x7FC00000
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Offsets in struct seccomp_data.
_DATA_NR, _DATA_ARCH = 0, 4
# The low halves of the first three arguments, which are ints (but for pointers): both
# architectures are little-endian.
_DATA_FIRST, _DATA_SECOND, _DATA_THIRD = 16, 24, 32

_SHUT_WR = 1
SHUTDOWN_BOUND = 128
"""shutdown(2) of descriptors from here on is not notified: some servers call it for each of their
connections, and a busy one has most of these above."""

CONNECT_BOUND = 32
"""connect(2) of descriptors from here on is not notified: a program that is starting has lower
ones."""

BIND_LENGTHS = range(1, 129)
"""Lengths of an address with which bind(2) may succeed: up to struct sockaddr_storage."""

# struct seccomp_notif: id, pid, flags, then seccomp_data: nr, arch, instruction_pointer, args[6].
_NOTIF = struct.Struct("=QIIiIQ6Q")
_RESPONSE = struct.Struct("=QqiI")
_ADDFD = struct.Struct("=QIIII")
_FLAG_CONTINUE = 1
_ADDFD_SETFD = 1


def _ioctl(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("!") << 8 | number


_NOTIF_RECV = _ioctl(3, 0, _NOTIF.size)
_NOTIF_SEND = _ioctl(3, 1, _RESPONSE.size)
_NOTIF_ID_VALID = _ioctl(1, 2, 8)
_NOTIF_ADDFD = _ioctl(1, 3, _ADDFD.size)


class Call(Enum):
    """System calls that can be notified. arm64 has no `unlink` and no `symlink`.

    `shutdown` is not notified for SHUT_WR, which has no effect on a listener, and from
    SHUTDOWN_BOUND on; `connect` not from CONNECT_BOUND on.
    """

    BIND = "bind"
    CONNECT = "connect"
    LISTEN = "listen"
    SHUTDOWN = "shutdown"
    UNLINK = "unlink"
    UNLINKAT = "unlinkat"
    SYMLINK = "symlink"
    SYMLINKAT = "symlinkat"


NUMBERS = {
    call: number
    for call, number in {
        Call.BIND: per_machine(49, 200),
        Call.CONNECT: per_machine(42, 203),
        Call.LISTEN: per_machine(50, 201),
        Call.SHUTDOWN: per_machine(48, 210),
        Call.UNLINK: per_machine(87, -1),
        Call.UNLINKAT: per_machine(263, 35),
        Call.SYMLINK: per_machine(88, -1),
        Call.SYMLINKAT: per_machine(266, 36),
    }.items()
    if number >= 0
}
_CALLS = {number: call for call, number in NUMBERS.items()}


@dataclass(frozen=True)
class Notification:
    """A thread that is stopped in `call` until it is answered."""

    id: int
    tid: int
    call: Call
    arguments: tuple[int, ...]


@dataclass(frozen=True)
class _Step:
    """An instruction; a jump goes to a label, "" is the next instruction."""

    code: int
    operand: int
    if_true: str = ""
    if_false: str = ""


def unavailable() -> str:
    """Why seccomp notification cannot be used here; "" if it can."""
    if MACHINE not in _AUDIT_ARCH:
        return f"seccomp notification is not supported on {MACHINE}"
    action = ctypes.c_uint32(_RET_USER_NOTIF)
    sizes = (ctypes.c_uint16 * 3)()
    try:
        syscall(_SECCOMP, _GET_ACTION_AVAIL, 0, ctypes.addressof(action))
        syscall(_SECCOMP, _GET_NOTIF_SIZES, 0, ctypes.addressof(sizes))
    except OSError as error:
        return f"seccomp notification is not available: {error.strerror}"
    if sizes[0] != _NOTIF.size or sizes[1] != _RESPONSE.size:
        return f"seccomp notifications have an unknown size ({sizes[0]}, {sizes[1]})"
    return ""


def _program(calls: set[Call], connects: Collection[int]) -> bpf.Program:
    """A program that notifies `calls` and allows all others, for the native architecture.

    Of connect, only calls with an address of one of the lengths in `connects`.
    """
    some = Call.SHUTDOWN, Call.CONNECT
    numbers = [NUMBERS[call] for call in calls if call in NUMBERS and call not in some]
    steps = [
        _Step(bpf.LOAD_WORD, _DATA_ARCH),
        _Step(bpf.JUMP_IF_EQUAL, _AUDIT_ARCH[MACHINE], "", "allow"),
    ]
    steps += [_Step(bpf.LOAD_WORD, _DATA_NR)]
    steps += [_Step(bpf.JUMP_IF_EQUAL, number, "notify") for number in numbers]
    steps += _connect_steps(connects)
    if Call.SHUTDOWN in calls:
        steps += [
            _Step(bpf.JUMP_IF_EQUAL, NUMBERS[Call.SHUTDOWN], "", "allow"),
            _Step(bpf.LOAD_WORD, _DATA_SECOND),
            _Step(bpf.JUMP_IF_EQUAL, _SHUT_WR, "allow"),
            _Step(bpf.LOAD_WORD, _DATA_FIRST),
            _Step(bpf.JUMP_IF_AT_LEAST, SHUTDOWN_BOUND, "allow", "notify"),
        ]
    return _assembled(steps)


def _connect_steps(lengths: Collection[int]) -> list[_Step]:
    if not lengths:
        return []
    return [
        _Step(bpf.JUMP_IF_EQUAL, NUMBERS[Call.CONNECT], "", "others"),
        _Step(bpf.LOAD_WORD, _DATA_FIRST),
        _Step(bpf.JUMP_IF_AT_LEAST, CONNECT_BOUND, "allow"),
        _Step(bpf.LOAD_WORD, _DATA_THIRD),
        *(_Step(bpf.JUMP_IF_EQUAL, length, "notify") for length in sorted(lengths)),
        _Step(bpf.RETURN, _RET_ALLOW),
    ]


def _assembled(steps: list[_Step]) -> bpf.Program:
    """The program of these steps, with `allow` and `notify` at its end. `others` is the step
    after the first return.
    """
    ends = {"allow": len(steps), "notify": len(steps) + 1}
    returns = (at for at, step in enumerate(steps, 1) if step.code == bpf.RETURN)
    ends["others"] = next(returns, len(steps))

    def instruction(at: int, step: _Step) -> bpf.Instruction:
        if_true, if_false = (ends.get(x, at + 1) - at - 1 for x in (step.if_true, step.if_false))
        return step.code, if_true, if_false, step.operand

    last = (_Step(bpf.RETURN, _RET_ALLOW), _Step(bpf.RETURN, _RET_USER_NOTIF))
    return bpf.Program(*(instruction(at, step) for at, step in enumerate((*steps, *last))))


def install(calls: set[Call], connects: Collection[int] = ()) -> int:
    """Install the filter in this process, for good. Returns the notification fd.

    `connects`: also notify of connect, for addresses of these lengths and low descriptors.

    Without CAP_SYS_ADMIN this needs no_new_privs, which is set only then: a program that root
    starts may still run set-user-ID helpers. Raises OSError: EBUSY if there is a filter with a
    notification fd already; EACCES, EINVAL or ENOSYS if the kernel or a container refuses.
    """
    program = _program(calls, connects)
    fprog = ctypes.create_string_buffer(program.fprog)
    address = ctypes.addressof(fprog)
    try:
        return _install(address)
    except PermissionError:
        no_new_privileges()
        return _install(address)


def _install(fprog: int) -> int:
    # The filter is no sandbox: SPEC_ALLOW (Linux 4.17) spares the program a mitigation. Before 5.16
    # every filter turned Speculative Store Bypass off for its process.
    flags = _NEW_LISTENER | _SPEC_ALLOW
    try:
        return syscall(_SECCOMP, _SET_MODE_FILTER, flags | _WAIT_KILLABLE_RECV, fprog)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return syscall(_SECCOMP, _SET_MODE_FILTER, flags, fprog)


def receive(fd: int) -> Notification | None:
    """The next notification; None if its thread was killed meanwhile. Raises OSError.

    Blocks if there is none: call it only if the fd is readable.
    """
    data = bytearray(_NOTIF.size)
    try:
        fcntl.ioctl(fd, _NOTIF_RECV, data)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    identity, tid, _flags, number, _arch, _pointer, *arguments = _NOTIF.unpack(data)
    return Notification(identity, tid, _CALLS[number], tuple(arguments))


def still_valid(fd: int, notification: Notification) -> bool:
    """Whether the thread still waits for the answer, so that memory that was read is its own."""
    try:
        _retried_ioctl(fd, _NOTIF_ID_VALID, struct.pack("=Q", notification.id))
    except FileNotFoundError:
        return False
    return True


class Late(OSError):
    """The thread has got no CPU to take the descriptor; nothing has changed, so try again later."""


def put_fd(
    fd: int,
    notification: Notification,
    source: int,
    target: int,
    *,
    cloexec: bool,
    within: float = 0.1,
) -> None:
    """Replace the caller's descriptor `target` by our descriptor `source`. Raises OSError, and Late
    after `within` seconds.

    The kernel waits until the thread has taken the descriptor: for ever, if others keep its CPU.
    Only a signal ends this wait, and the kernel then takes the descriptor back.
    """
    _add(fd, (notification.id, _ADDFD_SETFD, source, target), cloexec, within)


def add_fd(
    fd: int, notification: Notification, source: int, *, cloexec: bool, within: float = 0.1
) -> int:
    """As `put_fd`, but at the lowest free number, which is returned. The caller answers the call
    then: SECCOMP_ADDFD_FLAG_SEND (Linux 5.14) would do both, but when a signal ends the wait, the
    call returns 0 without a descriptor.
    """
    return _add(fd, (notification.id, 0, source, 0), cloexec, within)


def _add(fd: int, request: tuple[int, int, int, int], cloexec: bool, within: float) -> int:
    # The number is returned only where the buffer may change.
    data = bytearray(_ADDFD.pack(*request, os.O_CLOEXEC if cloexec else 0))
    until = time.monotonic() + within
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    # Again and again: one may come just before the call.
    timer = signal.setitimer(signal.ITIMER_REAL, within, within)
    try:
        while True:
            try:
                return int(fcntl.ioctl(fd, _NOTIF_ADDFD, data))
            except InterruptedError as error:  # By SIGCHLD, say.
                if time.monotonic() >= until:
                    raise Late(error.errno, "the thread gets no CPU") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)


def proceed(fd: int, notification: Notification) -> None:
    """Let the kernel carry out the call."""
    _respond(fd, notification, 0, _FLAG_CONTINUE)


def answer(fd: int, notification: Notification, error: int = 0, value: int = 0) -> None:
    """Let the call return `value`, or fail with the errno `error`, without carrying it out."""
    _respond(fd, notification, -error, 0, value)


def _respond(fd: int, notification: Notification, error: int, flags: int, value: int = 0) -> None:
    try:
        _retried_ioctl(fd, _NOTIF_SEND, _RESPONSE.pack(notification.id, value, error, flags))
    except FileNotFoundError:
        return  # The thread was killed meanwhile.


def _retried_ioctl(fd: int, request: int, data: bytes) -> None:
    """Call ioctl(2) again if a signal interrupts it, which Python does not do."""
    while True:
        try:
            fcntl.ioctl(fd, request, data)
        except InterruptedError:
            continue
        return
