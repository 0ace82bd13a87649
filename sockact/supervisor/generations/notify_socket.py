"""A generation's own $NOTIFY_SOCKET, for --ready notify.

Each generation has a socket of its own, and the sender has to be one of its processes
(SCM_CREDENTIALS, unix(7)): nobody else can declare it ready, and nothing that it says reaches
systemd.

`systemd-notify` and its like have ended when their message is read, and whose process it was
cannot be told any more. Such a message counts if it came from a user of the generation, or from
ours, who could just as well trace the program.
"""

from __future__ import annotations

import os
import socket
import struct
import time

from sockact.kernel import procfs
from sockact.supervisor.base.loop import READ
from sockact.supervisor.records.carried_state import CarriedNotifySocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop

_CREDENTIALS = struct.Struct("=iII")
_DATAGRAM = 4096
_MOST = 32


class Notified:
    """Listens for READY=1 and WATCHDOG=1; `address` is what $NOTIFY_SOCKET has to be."""

    def __init__(
        self,
        loop: Loop,
        address: str,
        pids: Callable[[], list[int]],
        ready: Callable[[], None],
        refused: Callable[[], None],
        carried: CarriedNotifySocket | None = None,
    ) -> None:
        """`pids` tells the generation's processes; `refused` hears of a stranger, once."""
        self.address = "@" + address
        self.stranger = ""
        """The last process whose READY=1 was refused."""
        self.alive_at: float | None = None
        """When its last WATCHDOG=1 came (CLOCK_MONOTONIC)."""
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
        """For the supervisor that takes our place."""
        return CarriedNotifySocket(self._socket.fileno(), self.alive_at)

    def close(self) -> None:
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()

    def _readable(self, _mask: int) -> None:
        for _ in range(_MOST):
            try:
                data, ancillary, _flags, _address = self._socket.recvmsg(
                    _DATAGRAM, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return
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
        # 0 is a living process of a PID namespace that we do not see.
        if pid and _has_ended(pid) and uid in _users([os.getpid(), *pids]):
            return True
        known = bool(self.stranger)
        self.stranger = f"process {pid} of user {uid}"
        if not known:
            self._refused()
        return False


def _has_ended(pid: int) -> bool:
    process = procfs.process(pid)
    return process is None or process.zombie


def _users(pids: list[int]) -> set[int]:
    """The real and effective user ids of processes."""
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
