"""Makes a process accept connections that did not come in through its listener. Runs in a process
of its own, which may be killed at any moment: docs/delivery.md.

At its entry, an accept of the process is made a bind() on the listener, with the same arguments.
That is notified by the seccomp filter of adopting, and is answered with a connection. Such a bind
cannot be mistaken: its length is a pointer, or 0. If nobody answers, or nothing is delivered, the
thread makes its accept again.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import math
import os
import socket
import struct
import time

from sockact.core.record import dataclass
from sockact.handover import interest
from sockact.handover.delivery import target as targets
from sockact.handover.delivery.wake import Wake
from sockact.kernel import libc, waits
from sockact.kernel.libc import per_machine
from sockact.kernel.seccomp import BIND_LENGTHS, NUMBERS
from sockact.kernel.seccomp import Call as Notified
from sockact.kernel.tracing import memory, registers
from sockact.kernel.tracing.tracer import At, Tracer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.handover.delivery.target import Target
    from sockact.kernel.tracing.registers import Call
    from sockact.kernel.tracing.tracer import Stop

_ACCEPT, _ACCEPT4 = per_machine(43, 202), per_machine(288, 242)
_KNOWN_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
REPORT = struct.Struct("=III")
"""(thread, index of the connection, flags of accept4) of an accept that is being made a bind()."""
_POLLFD = struct.Struct("=ihh")
_INT = struct.Struct("=i")
_POLLIN = 1
_ALONE = 0.02
"""Seconds for which the threads of the loop itself are traced alone. Mostly it is one of these that
accepts, and each thread more that is traced slows down the program.
"""
_GRACE = 1.0
"""Seconds after the deadline for which accepts that are being answered are waited for."""


@dataclass(frozen=True)
class Order:
    """What is to be brought where."""

    pid: int
    inode: int
    """Of the listener."""
    peers: tuple[bytes, ...]
    """The address of each connection's client, as a struct sockaddr."""
    within: float
    """Seconds."""


def bring(request: bytes, reports: int) -> bytes:
    """Carry out an order; return why not all were taken, "" if they were, and whether none will be
    later. A Helper's answer.

    An accept is reported to the pipe `reports` before it is made a bind().
    """
    order = Order(*marshal.loads(request))
    # If the supervisor is killed, its answers fail: this process then makes good what it has begun.
    libc.prctl(libc.PR_SET_PDEATHSIG, 0)
    until = time.monotonic() + order.within
    try:
        found = targets.find(order.pid, order.inode, len(order.peers))
        why = _Bringing(found, order.peers, reports).run(until)
    except OSError as error:
        why = error.strerror or str(error)
        return marshal.dumps((why, isinstance(error, targets.Impossible)))
    return marshal.dumps((why, False))


@dataclass(frozen=True)
class _Taken:
    """An accept that is being made a bind()."""

    call: Call
    index: int
    """Of the connection."""
    length: int
    """What the length of the address was before."""


class _Bringing:
    """The tracing of one process."""

    def __init__(self, target: Target, peers: tuple[bytes, ...], reports: int) -> None:
        self._target = target
        self._peers = peers
        self._reports = reports
        self._tracer = Tracer()
        self._waiting = [*range(len(peers))][::-1]
        """Indexes of the connections that no thread takes yet, the next one last."""
        self._under_way: dict[int, _Taken] = {}
        self._polling: dict[int, Call] = {}
        """Calls that were interrupted to let them find the listener."""
        self._refused = False
        self._wake = Wake(target, len(peers))

    def run(self, until: float) -> str:
        """Raises OSError, Refused."""
        try:
            self._seize(self._target.threads)
        except PermissionError:
            why = "the kernel does not permit tracing process {} (kernel.yama.ptrace_scope)"
            raise targets.Impossible(0, why.format(self._target.pid)) from None
        # First the event, so that the loops have one when they are interrupted: otherwise their
        # epoll_wait would fail with EINTR.
        self._wake.begin()
        self._interrupt(tuple(self._tracer.threads))
        others_at = time.monotonic() + _ALONE if self._target.others else math.inf
        waited = len(self._waiting)
        while not self._is_over():
            if time.monotonic() > others_at:
                is_alone = len(self._waiting) < waited
                others_at = time.monotonic() + _ALONE if is_alone else math.inf
                waited = len(self._waiting)
                self._interrupt(() if is_alone else self._seize(self._target.others))
            limit = until + (_GRACE if self._under_way else 0)
            if (stop := self._tracer.wait(min(limit, others_at))) is None:
                if others_at < limit:
                    others_at = 0.0
                    continue
                return f"process {self._target.pid} did not accept in time"
            with contextlib.suppress(ProcessLookupError):
                self._stopped(stop)
            self._tracer.resume(stop.tid)
        return "the connection was not given" if self._refused else ""

    def _seize(self, threads: tuple[int, ...]) -> tuple[int, ...]:
        """Raises PermissionError."""
        for tid in threads:
            self._tracer.seize(tid)
        return threads

    def _interrupt(self, threads: tuple[int, ...]) -> None:
        for tid in threads:
            self._tracer.interrupt(tid)

    def _is_over(self) -> bool:
        return not (self._under_way or self._wants())

    def _stopped(self, stop: Stop) -> None:
        """Act on a stop; the thread is resumed then."""
        if stop.call is not None:
            self._enters(stop.tid, stop.call)
        elif stop.at is At.EXIT:
            self._leaves(stop.tid, stop.result)
        elif stop.at is At.INTERRUPTED and self._wants():
            call = registers.interrupted(stop.tid)
            if call is not None and self._polls(stop.tid, call):
                _let_find(stop.tid, call, self._target.listeners)

    def _wants(self) -> bool:
        return bool(self._waiting) and not self._refused

    def _enters(self, tid: int, call: Call) -> None:
        if tid in self._under_way or not self._wants():
            return
        if self._accepts(call):
            self._take(tid, call)
        elif waits.is_epoll_wait(call.number):
            self._wake.again()
        elif self._polls(tid, call):
            self._polling[tid] = call
            self._tracer.interrupt(tid)

    def _accepts(self, call: Call) -> bool:
        """Whether this is an accept on the listener, which can be told from a bind()."""
        fd, _address, length, flags, *_ = (argument & 0xFFFFFFFF for argument in call.arguments)
        if fd not in self._target.listeners or length in BIND_LENGTHS:
            return False
        return call.number == _ACCEPT or (call.number == _ACCEPT4 and not flags & ~_KNOWN_FLAGS)

    def _polls(self, tid: int, call: Call) -> bool:
        if self._target.entries:
            return False
        found = waits.waiting_call(call.number, call.arguments)
        if found is None or found.name in ("accept", "accept4"):
            return False
        return not self._target.listeners.isdisjoint(interest.waits_on(tid, found))

    def _take(self, tid: int, call: Call) -> None:
        """Make an accept a bind(), unless the address of the client cannot be written."""
        _fd, address, length, flags, *_ = call.arguments
        index, before = self._waiting[-1], 0
        if address:
            peer = self._peers[index]
            try:
                (before,) = _INT.unpack(memory.read(tid, length, _INT.size))
                if before < 0:
                    return
                memory.write(tid, address, peer[:before])
                memory.write(tid, length, _INT.pack(len(peer)))
            except OSError:
                return  # The kernel says what is wrong.
        flags = flags & _KNOWN_FLAGS if call.number == _ACCEPT4 else 0
        os.write(self._reports, REPORT.pack(tid, index, flags))
        registers.become(tid, NUMBERS[Notified.BIND])
        self._under_way[tid] = _Taken(call, self._waiting.pop(), before)
        if not self._wants():
            self._wake.end()

    def _leaves(self, tid: int, result: int) -> None:
        if taken := self._under_way.pop(tid, None):
            if result < 0:
                self._undo(tid, taken, result)
        elif (call := self._polling.pop(tid, None)) and result in registers.RESTARTS:
            _let_find(tid, call, self._target.listeners)

    def _undo(self, tid: int, taken: _Taken, result: int) -> None:
        """Have a thread make its accept after all."""
        if result in registers.RESTARTS:
            self._waiting.append(taken.index)  # A signal has come before the answer.
            self._wake.begin()
        else:
            self._refused = True
            self._wake.end()
        if taken.call.arguments[1]:
            with contextlib.suppress(OSError):
                memory.write(tid, taken.call.arguments[2], _INT.pack(taken.length))
        registers.again(tid, taken.call)


def _let_find(tid: int, call: Call, listeners: frozenset[int]) -> None:
    """Let an interrupted poll or select return that a listener, and nothing else, is ready."""
    found = waits.waiting_call(call.number, call.arguments)
    assert found is not None
    fd = next(fd for fd in interest.waits_on(tid, found) if fd in listeners)
    if found.name in ("poll", "ppoll"):
        # If this process is killed before `finish`, the kernel makes the call again.
        _set_found(tid, call, fd)
    else:
        # Then it fails with EINTR: made again, it would wait for less than before.
        registers.finish(tid, call, -errno.EINTR)
        _select_found(tid, call, fd)
    registers.finish(tid, call, 1)


def _set_found(tid: int, call: Call, fd: int) -> None:
    """Write what poll finds: struct pollfd."""
    place, count = call.arguments[:2]
    entries = _POLLFD.iter_unpack(memory.read(tid, place, count * _POLLFD.size))
    found = b""
    for its, events, _revents in entries:
        is_found = its == fd and events & _POLLIN
        found += _POLLFD.pack(its, events, _POLLIN if is_found else 0)
        fd = -1 if is_found else fd  # Only one entry of it.
    memory.write(tid, place, found)


def _select_found(tid: int, call: Call, fd: int) -> None:
    """Write what select finds: sets of bits, in words of 8 bytes."""
    count, *sets = call.arguments[:4]
    size = (count + 63) // 64 * 8
    for place, bits in zip(sets, (1 << fd, 0, 0), strict=True):
        if place:
            memory.write(tid, place, bits.to_bytes(size, "little"))
