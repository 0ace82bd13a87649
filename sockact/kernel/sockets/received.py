"""Descriptors that come with a message: unix(7), SCM_RIGHTS; SO_LINGER of socket(7).

Whoever can send a message to a Unix socket can put descriptors into it, asked or not. Whoever drops
the last reference to a TCP socket with SO_LINGER waits in close(2), for hours if its peer does not
read. The kernel itself drops what a message has no room for, and what is in the queue of a socket
that is closed, and waits in the same way. So everything is received, and SO_LINGER turned off. And
since a close(2) may wait for other reasons, too (a file of FUSE, a socket whose lock is held), all
this happens in a new process that can be given up (looks.py). While there can be none, the messages
stay in their queue, and sockets that are to be closed stay open.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import stat
import struct

from sockact.kernel import looks
from sockact.kernel.looks import Blocked, Unavailable, apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Ancillary = list[tuple[int, int, bytes]]

_MOST = 253
"""SCM_MAX_FD: the most descriptors that a message can have."""
_ROOM = socket.CMSG_SPACE(_MOST * array.array("i").itemsize) + socket.CMSG_SPACE(12)
_CREDENTIALS = socket.CMSG_SPACE(12)
_GROUP = "descriptors that were sent"
_OFF = struct.pack("=ii", 0, 0)
_MOST_MESSAGES = 1024
_MOST_KEPT = 64
_KEPT: list[socket.socket] = []
"""Sockets to close when there can be a process for it."""


def peek(sock: socket.socket, size: int, *, credentials: bool = False) -> tuple[bytes, bool]:
    """The next message, which stays in the queue, and whether descriptors come with it.

    `credentials`: SO_PASSCRED is set. Raises OSError.
    """
    room = _CREDENTIALS if credentials else 0
    data, _ancillary, flags, _address = sock.recvmsg(size, room, socket.MSG_PEEK)
    return data, bool(flags & socket.MSG_CTRUNC)


def take(sock: socket.socket, size: int, *, credentials: bool = False) -> tuple[bytes, Ancillary]:
    """The next message: (data, other ancillary data). Its descriptors are closed.

    The socket does not block, and keeps the borders of messages. `credentials` as for `peek`.
    Raises OSError, and Unavailable if the message stays in the queue, to be taken later.
    """
    room = _CREDENTIALS if credentials else 0
    data, ancillary, flags, _address = sock.recvmsg(size, room, socket.MSG_PEEK)
    if flags & socket.MSG_CTRUNC:
        _drop(sock)
    else:
        sock.recv(1)
    return data, ancillary


def _drop(sock: socket.socket) -> None:
    """Take the next message, and close its descriptors. Raises Unavailable."""
    try:
        looks.in_fork_or_here(_GROUP, _drop_in_fork, [sock.fileno()], sock.fileno())
    except Blocked as error:
        # The process that was given up has taken the message: it waits in close(2).
        if error.errno != errno.ETIMEDOUT:
            raise


@apart
def _drop_in_fork(fd: int) -> None:
    with socket.socket(fileno=os.dup(fd)) as sock:
        close(receive(sock, 1)[1])


def receive(sock: socket.socket, size: int) -> tuple[bytes, list[int], Ancillary]:
    """The next message: (data, descriptors, other ancillary data). Pass the descriptors to `close`.

    Raises OSError.
    """
    data, ancillary, _flags, _address = sock.recvmsg(size, _ROOM, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    others = []
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(value[: len(value) - len(value) % fds.itemsize])
        else:
            others.append((level, kind, value))
    return data, list(fds), others


def close(fds: Iterable[int]) -> None:
    """Close received descriptors; does not wait for the data of sockets to be sent."""
    for fd in fds:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            with socket.socket(fileno=fd) as found:
                do_not_linger(found)
        else:
            os.close(fd)


def do_not_linger(sock: socket.socket) -> None:
    """Turn SO_LINGER off, so that closing the socket does not wait."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _OFF)
    except OSError:
        return


def close_queue(sock: socket.socket) -> None:
    """Close a non-blocking Unix socket, and all descriptors that are in its queue.

    It stays open as long as there can be no process that closes them: see `close_kept`.
    """
    # Then each message has credentials, so that an empty one is not taken for the end.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    try:
        sock.shutdown(socket.SHUT_RDWR)  # Nothing more gets into the queue.
    except OSError:
        pass  # Its peer is gone.
    _KEPT.insert(0, sock)
    close_kept()


def close_kept() -> bool:
    """Close the sockets that were kept open, as far as possible now. Whether there is room for more
    of them.
    """
    try:
        while _KEPT:
            _empty(_KEPT[0])
            _KEPT.pop(0).close()
    except Unavailable:
        _KEPT.append(_KEPT.pop(0))  # The next time another one is the first.
    return len(_KEPT) < _MOST_KEPT


def _empty(sock: socket.socket) -> None:
    """Take all messages that are in the queue. Raises Unavailable."""
    for _ in range(_MOST_MESSAGES):
        try:
            data, others = take(sock, 1, credentials=True)
        except Unavailable:
            raise
        except OSError:
            break
        if not (data or others):
            break


def close_listening(sock: socket.socket) -> None:
    """Close a non-blocking, listening Unix socket, and all connections that wait for it."""
    sock.shutdown(socket.SHUT_RD)
    for _ in range(_MOST_MESSAGES):
        try:
            waiting = sock.accept()[0]
        except OSError:
            break
        waiting.setblocking(False)
        close_queue(waiting)
    sock.close()
