"""The $NOTIFY_SOCKET of one generation, for --ready notify.

Each generation has a socket of its own, which other users cannot find (hidden_sockets.py), and the
sender must be one of its processes (SCM_CREDENTIALS, unix(7)). So no other process can declare it
ready, or fill its queue. Its messages do not reach systemd.

A process like `systemd-notify` has usually ended when its message is read, so that its generation
cannot be found out. Its message counts if the sender was a user of the generation, or the
supervisor's own user, who could trace the program anyway.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time

from sockact.kernel import credentials, procfs
from sockact.kernel.looks import Unavailable
from sockact.kernel.sockets import received
from sockact.supervisor.base.loop import READ
from sockact.supervisor.processes.budget import PAUSE, STRANGER, Budget
from sockact.supervisor.processes.hidden_sockets import remove
from sockact.supervisor.records.carried_state import CarriedNotifySocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.processes.hidden_sockets import HiddenSockets

_CREDENTIALS = struct.Struct("=iII")
_DATAGRAM = 4096
_MOST = 32


class NotifySocket:
    """Receives READY=1 and WATCHDOG=1. `address` is the value of $NOTIFY_SOCKET."""

    def __init__(
        self,
        loop: Loop,
        name: str,
        hidden: HiddenSockets,
        own: Callable[[int], bool],
        pids: Callable[[], list[int]],
        ready: Callable[[], None],
        refused: Callable[[], None],
        carried: CarriedNotifySocket | None = None,
    ) -> None:
        """`name` is an abstract one, for where there are no hidden sockets. `own` returns whether a
        process is of the generation, `pids` all that are. `refused` is called for the first
        stranger.
        """
        self.stranger = ""
        """The last process whose message was refused, for a message to the operator."""
        self.alive_at: float | None = None
        """When the last WATCHDOG=1 arrived (CLOCK_MONOTONIC)."""
        self._loop = loop
        self._own = own
        self._pids = pids
        self._budget = Budget()
        self._ready = ready
        self._refused = refused
        if carried is None:
            self._socket, self._path = _bound(name, hidden)
        else:
            self._socket, self._path = socket.socket(fileno=carried.fd), carried.path
            self.alive_at = carried.alive_at
        self.address = self._path or "@" + name
        self._socket.setblocking(False)
        self._watch()

    def carried(self) -> CarriedNotifySocket:
        """Return the state for the version that takes over."""
        return CarriedNotifySocket(self._socket.fileno(), self.alive_at, self._path)

    def close(self) -> None:
        """Receive no more messages."""
        if self._loop.watched(self._socket.fileno()):
            self._loop.unwatch(self._socket.fileno())
        received.close_queue(self._socket)
        if self._path:
            remove(self._path)

    def _watch(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno(), READ, self._readable)

    def _pause(self) -> None:
        self._loop.unwatch(self._socket.fileno())
        self._loop.at(time.monotonic() + PAUSE, self._watch)

    def _readable(self, _mask: int) -> None:
        for _ in range(_MOST):
            try:
                # Descriptors, of FDSTORE=1 say, are for systemd.
                data, ancillary = received.take(self._socket, _DATAGRAM, credentials=True)
            except BlockingIOError:
                return
            except Unavailable:
                self._pause()  # The message is still the next one.
                return
            words = data.split(b"\n")
            if not {b"READY=1", b"WATCHDOG=1"} & {*words}:
                continue
            began = time.process_time()
            trusted = self._trusted(ancillary)
            affordable = self._budget.spend(0.0 if trusted else STRANGER, began)
            if not affordable:
                self._pause()
            if trusted and b"WATCHDOG=1" in words:
                self.alive_at = time.monotonic()
            if trusted and b"READY=1" in words:
                self._ready()
                return
            if not affordable:
                return

    def _trusted(self, ancillary: list[tuple[int, int, bytes]]) -> bool:
        pid, uid = 0, -1
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid, uid, _gid = _CREDENTIALS.unpack(value[: _CREDENTIALS.size])
        with contextlib.suppress(OSError):  # hidepid= hides it, or no descriptor is left.
            if self._own(pid):
                return True
        # 0: a process of another PID namespace, which has not ended.
        if pid and _has_ended(pid) and uid in _users([os.getpid(), *self._pids()]):
            return True
        known = bool(self.stranger)
        self.stranger = f"process {pid} of user {uid}"
        if not known:
            self._refused()
        return False


def _has_ended(pid: int) -> bool:
    try:
        return not procfs.lives(pid)
    except OSError:
        pass  # hidepid= hides it, or no descriptor is left.
    try:
        os.kill(pid, 0)  # Needs neither, but does not tell a zombie from others.
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _users(pids: list[int]) -> set[int]:
    """Return the users of processes."""
    found: set[int] = set()
    for pid in pids:
        with contextlib.suppress(OSError):  # No descriptor is left.
            found.update(*credentials.users([pid]))
    return found


def _bound(name: str, hidden: HiddenSockets) -> tuple[socket.socket, str]:
    """Return a new socket, and its path; "" if it has the abstract name instead."""
    found = _new()
    if path := hidden.bind(found):
        return found, path
    found.close()
    found = _new()
    found.bind(b"\0" + name.encode())
    return found, ""


def _new() -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return found
