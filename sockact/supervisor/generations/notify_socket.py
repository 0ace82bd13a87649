"""The $NOTIFY_SOCKET of one generation, for --ready notify.

Each generation has a socket of its own, and the sender must be one of its processes
(SCM_CREDENTIALS, unix(7)). So no other process can declare it ready. Its messages do not reach
systemd.

A process like `systemd-notify` has usually ended when its message is read, so that its generation
cannot be found out. Its message counts if the sender was a user of the generation, or the
supervisor's own user, who could trace the program anyway.
"""

from __future__ import annotations

import os
import socket
import struct
import time

from sockact.kernel import procfs
from sockact.kernel.sockets import received
from sockact.supervisor.base.loop import READ
from sockact.supervisor.records.carried_state import CarriedNotifySocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop

_CREDENTIALS = struct.Struct("=iII")
_DATAGRAM = 4096
_MOST = 32


class NotifySocket:
    """Receives READY=1 and WATCHDOG=1. `address` is the value of $NOTIFY_SOCKET."""

    def __init__(
        self,
        loop: Loop,
        address: str,
        pids: Callable[[], list[int]],
        ready: Callable[[], None],
        refused: Callable[[], None],
        carried: CarriedNotifySocket | None = None,
    ) -> None:
        """`pids` returns the generation's processes. `refused` is called for the first stranger."""
        self.address = "@" + address
        self.stranger = ""
        """The last process whose message was refused, for a message to the operator."""
        self.alive_at: float | None = None
        """When the last WATCHDOG=1 arrived (CLOCK_MONOTONIC)."""
        self._loop = loop
        self._pids = pids
        self._ready = ready
        self._refused = refused
        if carried is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(b"\0" + address.encode())
        else:
            self._socket = socket.socket(fileno=carried.fd)
            self.alive_at = carried.alive_at
        self._socket.setblocking(False)
        loop.watch(self._socket.fileno(), READ, self._readable)

    def carried(self) -> CarriedNotifySocket:
        """Return the state for the version that takes over."""
        return CarriedNotifySocket(self._socket.fileno(), self.alive_at)

    def close(self) -> None:
        """Receive no more messages."""
        self._loop.unwatch(self._socket.fileno())
        received.close_queue(self._socket)

    def _readable(self, _mask: int) -> None:
        for _ in range(_MOST):
            try:
                data, fds, ancillary = received.receive(self._socket, _DATAGRAM)
            except BlockingIOError:
                return
            received.close(fds)  # FDSTORE=1, say, which is for systemd.
            words = data.split(b"\n")
            if not {b"READY=1", b"WATCHDOG=1"} & {*words} or not self._trusted(ancillary):
                continue
            if b"WATCHDOG=1" in words:
                self.alive_at = time.monotonic()
            if b"READY=1" in words:
                self._ready()
                return

    def _trusted(self, ancillary: list[tuple[int, int, bytes]]) -> bool:
        pid, uid = 0, -1
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid, uid, _gid = _CREDENTIALS.unpack(value[: _CREDENTIALS.size])
        pids = self._pids()
        if pid in pids:
            return True
        # 0: a process of another PID namespace, which has not ended.
        if pid and _has_ended(pid) and uid in _users([os.getpid(), *pids]):
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
    """Return the real and effective user ids of processes."""
    found: set[int] = set()
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", "rb") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(b"Uid:"):
                found.update(map(int, line.split()[1:3]))
    return found
