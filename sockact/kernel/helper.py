"""A helper process, which answers requests, and can be given up: fork(2), unix(7), PR_SET_PDEATHSIG
of prctl(2), Linux 2.1.57.

A system call that waits in the kernel, in some cases so that not even SIGKILL ends it, then stops
the helper only. It is a fork, and has no descriptor but its socket and those it is told to keep: no
lock, no listener. It ends with its parent.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import resource
import select
import signal
import socket
import struct
import time

from sockact.kernel import libc, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable
    from typing import NoReturn

_NAME = b"sockact-look"
_LENGTH = struct.Struct("=Q")
_CHUNK = 1 << 16
_SLICE = 0.025
_PATIENCE = 20
"""Slices of time in a row in which a helper may sleep: 0.5 s. The holder of a lock that it waits
for may be innocent, and wait for a processor."""
_LONGEST = 2.0
"""Seconds that a helper may take that computes, or waits for a processor."""
_PAUSES = (1.0, 10.0, 100.0, 600.0)
"""Seconds for which a group is refused after its first helper was given up, its second …"""
_MOST_GIVEN_UP = 16
_MOST_REFUSED = 64
_CAP_SYS_PTRACE = 19
OWN = "own children"
"""The group of this process itself: which children it has, it is told in any case."""


class Helper:
    """A child process that answers requests."""

    def __init__(
        self, answer: Callable[[bytes], bytes], keep: Collection[int] | None = None, above: int = 0
    ) -> None:
        """`answer` is called in the child, which has no other descriptors than `keep`. With `keep`,
        even an empty one, it answers one request only, and may replace descriptors below `above`.
        Raises OSError.
        """
        self._socket, other = socket.socketpair()
        try:
            with other, signals.blocked():
                self.pid = os.fork()
                if self.pid == 0:
                    _serve(other, answer, keep, above)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def ask(self, request: bytes) -> bytes | None:
        """Return its answer; None if it does not answer. Raises OSError or EOFError if it has
        ended.
        """
        until = time.monotonic() + _LONGEST
        left = memoryview(_LENGTH.pack(len(request)) + request)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                if not self._wait(select.POLLOUT, until):
                    return None
        found = bytearray()
        wanted = _LENGTH.size
        while len(found) < wanted:
            if not self._wait(select.POLLIN, until):
                return None
            if not (data := self._socket.recv(_CHUNK)):
                raise EOFError
            found += data
            if len(found) >= _LENGTH.size:
                wanted = _LENGTH.size + _LENGTH.unpack_from(found)[0]
        return bytes(found[_LENGTH.size :])

    def begin(self, request: bytes) -> None:
        """Send a request, for whose answer the caller waits in a loop. Raises OSError."""
        self._socket.sendall(_LENGTH.pack(len(request)) + request)

    def fileno(self) -> int:
        """Return what can be read when it has answered, or ended."""
        return self._socket.fileno()

    def result(self) -> bytes | None:
        """Return its answer, of a few bytes, after `fileno` can be read; None if it has ended
        without one.
        """
        try:
            data = self._socket.recv(_CHUNK)
        except OSError:
            return None
        return data[_LENGTH.size :] if len(data) >= _LENGTH.size else None

    def _wait(self, events: int, until: float) -> bool:
        """Wait for the socket; return False if the helper sleeps, or takes too long."""
        self._poll.modify(self._socket, events)
        asleep = 0
        while not self._poll.poll(_SLICE * 1000):
            state = self._state()
            if state == "T":
                raise EOFError  # Somebody has stopped it: another one will do.
            asleep = 0 if state in ("R", "") else asleep + 1
            if asleep >= _PATIENCE or time.monotonic() > until:
                return False
        return True

    def _state(self) -> str:
        """The letter of proc_pid_stat(5); "" if that cannot be read, for want of descriptors."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0].decode()
        except OSError:
            return ""

    def has_ended(self) -> bool:
        """Whether it has ended, or has answered after all."""
        if self._socket.fileno() < 0:
            return True
        self._poll.modify(self._socket, select.POLLIN)
        return bool(self._poll.poll(0))

    def kill(self) -> None:
        """Kill it, if it has not ended: then its pid is still its own."""
        if not self.has_ended():
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill and reap it: one that has just answered, or has not ended. The loop reaps others."""
        self.kill()
        self._poll.modify(self._socket, 0)  # Only a hang-up: then nothing can stop it any more.
        if self._poll.poll(_PATIENCE * _SLICE * 1000):
            os.waitpid(self.pid, 0)
        self._socket.close()

    def close(self) -> None:
        """Kill it, if it has not ended. The loop reaps it, like all children."""
        if self._socket.fileno() >= 0:
            self.kill()
            self._socket.close()


def may_look_at_less() -> bool:
    """Whether Yama lets this process, but no helper beside the program, read its memory."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", "rb") as file:
            if file.read().strip() == b"0":
                return False
        with open("/proc/self/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    held = next((int(x.split()[1], 16) for x in lines if x.startswith(b"CapEff:")), 0)
    return not held >> _CAP_SYS_PTRACE & 1


class GivenUp:
    """Helpers that did not answer, and the groups that are refused because of them."""

    def __init__(self) -> None:
        self._living: list[Helper] = []
        # Group → (its last helper, when the refusal ends, how often)
        self._groups: dict[Hashable, tuple[Helper, float, int]] = {}

    def add(self, group: Hashable, helper: Helper) -> bool:
        """Give up a helper that looks at the group. Whether that is the first of the group."""
        helper.kill()
        self._living.append(helper)
        times = self._groups[group][2] if group in self._groups else 0
        until = time.monotonic() + _PAUSES[min(times, len(_PAUSES) - 1)]
        self._groups[group] = helper, until, times + 1
        if len(self._groups) > _MOST_REFUSED:
            self._reap()
            over = (x for x, (one, *_) in self._groups.items() if one not in self._living)
            self.forget(next(over, group))
        return not times

    def refuses(self, group: Hashable) -> bool:
        """Whether the group is not to be looked at now."""
        self._reap()
        if group in self._groups:
            helper, until, _times = self._groups[group]
            return helper in self._living or time.monotonic() < until
        return len(self._living) >= _MOST_GIVEN_UP and group != OWN

    def _reap(self) -> None:
        for helper in [one for one in self._living if one.has_ended()]:
            helper.close()
            self._living.remove(helper)

    def pids(self) -> set[int]:
        """The pids of those that have not ended."""
        return {helper.pid for helper in self._living if not helper.has_ended()}

    def forget(self, group: Hashable) -> None:
        """Forget a group that is gone, but not its helper."""
        self._groups.pop(group, None)

    def close(self) -> None:
        """Forget all of them."""
        for helper in self._living:
            helper.close()
        self._living.clear()
        self._groups.clear()


def _serve(
    sock: socket.socket,
    answer: Callable[[bytes], bytes],
    keep: Collection[int] | None,
    above: int,
) -> NoReturn:
    """Answer until the parent ends. All signals are blocked here."""
    try:
        # Memory stays shared with the parent as long as the collector does not touch it.
        gc.disable()
        libc.die_with_parent(signal.SIGKILL)
        if sock.fileno() < above:
            sock = _moved(sock, above)
        libc.close_others([sock.fileno(), *(keep or ())])
        with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as file:
            file.write(_NAME)
        while request := _receive(sock):
            data = answer(request)
            if keep is not None:
                # This may wait, too: then there is no answer.
                libc.close_others([sock.fileno()])
            sock.sendall(_LENGTH.pack(len(data)) + data)
            if keep is not None:
                break
    except BaseException:
        os._exit(1)  # There is nobody to tell.
    finally:
        os._exit(0)


def _moved(sock: socket.socket, above: int) -> socket.socket:
    """The socket at a number from `above` on; at its own number if there is none."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        return socket.socket(fileno=fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, above))
    except OSError:
        return sock  # Then `answer` gets no such number, either.


def _receive(sock: socket.socket) -> bytes:
    """Return the next request; b"" at the end."""
    head = sock.recv(_LENGTH.size, socket.MSG_WAITALL)
    return sock.recv(_LENGTH.unpack(head)[0], socket.MSG_WAITALL) if head else b""
