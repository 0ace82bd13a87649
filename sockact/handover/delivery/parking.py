"""Parks quiet connections of a generation: the program is told nothing of them any more, and their
next bytes are looked at. Runs in a process of its own: docs/delivery.md.

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

from sockact.core.connections import may_park
from sockact.core.record import dataclass
from sockact.handover.delivery import addresses
from sockact.handover.delivery.request_line import LONGEST, begins_request
from sockact.kernel import epoll, libc, pidfd
from sockact.kernel.sockets import sock_diag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from sockact.core.connections import Connection

    # (pid, epfd, fd, events, data, inode) of an entry: gate.Entry.
    Plain = tuple[int, int, int, int, int, int]

NEWS = struct.Struct("=BIB")
"""To the supervisor: (kind, index of the entry, length of the client's address)."""
REQUEST, RETURNED, BUSY = 0, 1, 2
"""A request has begun (with the connection, the client's address, and its own); it has gone back;
it was not parked, because it is not quiet any more."""
PARK, DELIVERED, RETURN = 0, 1, 2
"""From the supervisor, (kind, data): entries by index; indexes of connections that are another
process's, or that are to go back."""
LONGEST_ORDER = 1 << 17
_EVENTS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLOUT | select.EPOLLET
_CHANNEL = -1
"""The event data of the channel; that of a connection is its index."""


@dataclass
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
    sent: int = 0
    """Segments of data that the program had sent when it was parked."""
    full: bool = False
    """Its buffer was full then, so that the program may have waited to send more."""

    def edit(self, operation: int, events: int = 0) -> None:
        """Edit its entry. Raises OSError; FileNotFoundError if the program has removed it."""
        os.dup2(self.own, self.number)
        try:
            epoll.control(self.instance, operation, self.number, events, self.data)
        finally:
            os.close(self.number)


def park(request: bytes, channel: int) -> bytes:
    """Park connections and look at them until the supervisor ends it, or itself. A Helper's answer,
    whose descriptors below the number in the request are free. `channel` is a SOCK_SEQPACKET
    socket.
    """
    above: int = marshal.loads(request)
    libc.prctl(libc.PR_SET_PDEATHSIG, 0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    number = fcntl.fcntl(channel, fcntl.F_DUPFD_CLOEXEC, above)
    os.close(channel)
    _Parking(socket.socket(fileno=number), above).run()
    return b""


class _Parking:
    """The parked connections of one generation."""

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

    def run(self) -> None:
        """Park and look, and give back what is left."""
        try:
            while self._serve():
                pass
        except (BrokenPipeError, ConnectionError):
            pass  # The supervisor has ended.
        finally:
            for parked in self._parked.values():
                with contextlib.suppress(OSError):
                    parked.edit(epoll.EPOLL_CTL_MOD, parked.events)

    def _park(self, index: int, entry: Plain) -> None:
        """Park one, unless it is not quiet any more. Raises OSError."""
        pid, epfd, fd, events, data, inode = entry
        if (pid, epfd) not in self._instances:
            self._instances[pid, epfd] = self._duplicate(pid, epfd)
        own = self._duplicate(pid, fd)
        if os.fstat(own).st_ino != inode:
            os.close(own)
            raise OSError(0, "the program has closed it")
        parked = self._parked[index] = _Parked(self._instances[pid, epfd], own, fd, events, data)
        try:
            parked.edit(epoll.EPOLL_CTL_MOD)
            is_mute = True
        except FileNotFoundError:
            is_mute = False  # A thread has it, say, and puts it back with its events.
        now = _now(own)
        if not (is_mute and may_park(now)):
            # The program may have been told of what has come.
            self._give_back([index])
            self._tell(BUSY, index)
            return
        parked.sent, parked.full = now.data_segments_out, not _is_writable(own)
        epoll.control(self._loop.fileno(), epoll.EPOLL_CTL_ADD, own, _EVENTS, index)

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
        for index, events in self._loop.poll():
            if index == _CHANNEL:
                data = self._channel.recv(LONGEST_ORDER)
                if not data:
                    return False
                self._obey(*marshal.loads(data))
            elif index in self._parked:
                self._report(index, self._parked[index], events)
        return True

    def _report(self, index: int, parked: _Parked, events: int) -> None:
        """Act on what has happened to a parked connection."""
        if events != select.EPOLLOUT:
            self._look(index, parked)
        elif parked.full or _now(parked.own).data_segments_out != parked.sent:
            # Its buffer was full, and is not any more: the program may wait for that.
            self._return(index)

    def _look(self, index: int, parked: _Parked) -> None:
        """Report a request; anything else, an end of the connection too, goes back."""
        client = b""
        try:
            with socket.socket(fileno=os.dup(parked.own)) as connection:
                first = connection.recv(LONGEST, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                now = sock_diag.of_socket(connection)
                # Otherwise, it may be in the middle of a response to a client that does not wait.
                answers = now.unsent or now.data_segments_out != parked.sent
                if begins_request(first) and not answers:
                    client = addresses.peer(parked.own)
        except BlockingIOError:
            return  # The program was told of these bytes before, and has read them.
        except OSError:
            pass
        if client:
            self._loop.unregister(parked.own)
            own = addresses.local(parked.own)
            message = NEWS.pack(REQUEST, index, len(client)) + client + own
            socket.send_fds(self._channel, [message], [parked.own])
        else:
            self._return(index)

    def _return(self, index: int) -> None:
        self._give_back([index])
        self._tell(RETURNED, index)

    def _obey(self, kind: int, about: dict[int, Plain] | list[int]) -> None:
        if isinstance(about, dict):
            for index, entry in about.items():
                try:
                    self._park(index, entry)
                except OSError:
                    self._give_back({index} & self._parked.keys())
                    self._tell(RETURNED, index)
        elif kind == DELIVERED:
            # A hang-up would be reported even without events.
            self._edit(about, epoll.EPOLL_CTL_DEL)
        else:
            self._give_back(about)

    def _give_back(self, indexes: Collection[int]) -> None:
        self._edit(indexes, epoll.EPOLL_CTL_MOD)

    def _edit(self, indexes: Collection[int], operation: int) -> None:
        """Park these no more, and edit their entries."""
        for index in indexes:
            parked = self._parked.pop(index)
            with contextlib.suppress(OSError):
                # The program's own descriptor would keep it there, and one with the same number
                # could not be parked.
                self._loop.unregister(parked.own)
            with contextlib.suppress(OSError):
                parked.edit(operation, parked.events)
            os.close(parked.own)

    def _tell(self, kind: int, index: int) -> None:
        self._channel.send(NEWS.pack(kind, index, 0))


def _now(own: int) -> Connection:
    """The state of a connection. Raises OSError."""
    with socket.socket(fileno=os.dup(own)) as connection:
        return sock_diag.of_socket(connection)


def _is_writable(own: int) -> bool:
    poll = select.poll()
    poll.register(own, select.POLLOUT)
    return bool(poll.poll(0))
