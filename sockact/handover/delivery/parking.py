"""Parks quiet connections of a process: it is told nothing of them any more, and their next bytes
are looked at. Runs in a process of its own: docs/delivery.md.

The connection stays in the program's epoll instance with no events (EPOLL_CTL_MOD of epoll_ctl(2)),
so that whatever the program does with its entry succeeds. What is parked goes back when the
supervisor ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import resource
import select
import socket
import struct

from sockact.core.record import dataclass
from sockact.handover.delivery.request_line import LONGEST, begins_request
from sockact.kernel import epoll, libc, pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    # (pid, epfd, fd, events, data, inode) of an entry: gate.Entry.
    Plain = tuple[int, int, int, int, int, int]

MESSAGE = struct.Struct("=BI")
"""(kind, index of the entry), in either direction."""
REQUEST, RETURNED = 0, 1
"""To the supervisor: a request has begun (with the connection); it has gone back."""
DELIVERED, RETURN = 2, 3
"""From the supervisor: the connection is another process's; it is to go back."""
_INPUT = select.EPOLLIN | select.EPOLLRDHUP
_CHANNEL = -1
"""The event data of the channel; that of a connection is its index."""


@dataclass(frozen=True)
class _Parked:
    """A parked connection."""

    instance: int
    """Our duplicate of the program's epoll instance."""
    own: int
    """Our duplicate of the connection."""
    number: int
    """That of the program."""
    events: int
    data: int

    def edit(self, operation: int, events: int = 0) -> None:
        """Edit its entry; that may be gone. Raises OSError."""
        os.dup2(self.own, self.number)
        try:
            with contextlib.suppress(FileNotFoundError):
                epoll.control(self.instance, operation, self.number, events, self.data)
        finally:
            os.close(self.number)


def park(request: bytes, channel: int) -> bytes:
    """Park connections and look at them until the supervisor ends it, or itself. A Helper's answer,
    whose descriptors below the entries' numbers are free. `channel` is a SOCK_SEQPACKET socket.
    """
    entries: list[Plain] = marshal.loads(request)
    libc.prctl(libc.PR_SET_PDEATHSIG, 0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    above = 1 + max(fd for _pid, _epfd, fd, *_ in entries)
    number = fcntl.fcntl(channel, fcntl.F_DUPFD_CLOEXEC, above)
    os.close(channel)
    _Parking(socket.socket(fileno=number), above).run(entries)
    return b""


class _Parking:
    """The parked connections of one process."""

    def __init__(self, channel: socket.socket, above: int) -> None:
        self._channel = channel
        self._above = above
        self._parked: dict[int, _Parked] = {}
        self._instances: dict[tuple[int, int], int] = {}
        # Above the numbers that are replaced.
        with select.epoll() as low:
            self._loop = select.epoll.fromfd(self._moved(low.fileno()))
        fd, number = channel.fileno(), self._loop.fileno()
        epoll.control(number, epoll.EPOLL_CTL_ADD, fd, select.EPOLLIN, _CHANNEL & 0xFFFFFFFF)

    def run(self, entries: Iterable[Plain]) -> None:
        """Park, look, and give back what is left."""
        try:
            for index, entry in enumerate(entries):
                try:
                    self._park(index, entry)
                except OSError:
                    self._tell(RETURNED, index)
            while self._serve():
                pass
        except (BrokenPipeError, ConnectionError):
            pass  # The supervisor has ended.
        finally:
            for parked in self._parked.values():
                with contextlib.suppress(OSError):
                    parked.edit(epoll.EPOLL_CTL_MOD, parked.events)

    def _park(self, index: int, entry: Plain) -> None:
        """Raises OSError."""
        pid, epfd, fd, events, data, inode = entry
        if (pid, epfd) not in self._instances:
            self._instances[pid, epfd] = self._duplicate(pid, epfd)
        own = self._duplicate(pid, fd)
        if os.fstat(own).st_ino != inode:
            os.close(own)
            raise OSError(0, "the program has closed it")
        parked = _Parked(self._instances[pid, epfd], own, fd, events, data)
        parked.edit(epoll.EPOLL_CTL_MOD)
        self._parked[index] = parked
        epoll.control(self._loop.fileno(), epoll.EPOLL_CTL_ADD, own, _INPUT, index)

    def _duplicate(self, pid: int, fd: int) -> int:
        low = pidfd.getfd(pid, fd)
        try:
            return self._moved(low)
        finally:
            os.close(low)

    def _moved(self, low: int) -> int:
        return fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, self._above)

    def _serve(self) -> bool:
        """Look at what has come; return False when the supervisor wants no more."""
        for index, _events in self._loop.poll():
            if index == _CHANNEL:
                data = self._channel.recv(MESSAGE.size)
                if not data:
                    return False
                self._obey(*MESSAGE.unpack(data))
            elif index in self._parked:
                self._look(index, self._parked[index])
        return True

    def _look(self, index: int, parked: _Parked) -> None:
        """Report a request; anything else, an end of the connection too, goes back."""
        try:
            with socket.socket(fileno=os.dup(parked.own)) as connection:
                first = connection.recv(LONGEST, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return  # The program was told of these bytes before, and has read them.
        except OSError:
            first = b""
        self._loop.unregister(parked.own)
        if begins_request(first):
            self._tell(REQUEST, index, [parked.own])
        else:
            self._obey(RETURN, index)
            self._tell(RETURNED, index)

    def _obey(self, kind: int, index: int) -> None:
        parked = self._parked.pop(index)
        with contextlib.suppress(OSError):
            if kind == DELIVERED:
                # A hang-up would be reported even without events.
                parked.edit(epoll.EPOLL_CTL_DEL)
            else:
                parked.edit(epoll.EPOLL_CTL_MOD, parked.events)
        os.close(parked.own)

    def _tell(self, kind: int, index: int, fds: list[int] | None = None) -> None:
        socket.send_fds(self._channel, [MESSAGE.pack(kind, index)], fds or [])
