"""Descriptors that come with a message: unix(7), SCM_RIGHTS; SO_LINGER of socket(7).

Whoever can send a message to a Unix socket can put descriptors into it, asked or not. Whoever drops
the last reference to a TCP socket with SO_LINGER waits in close(2), for hours if its peer does not
read. The kernel itself drops what a message has no room for, and what is in the queue of a socket
that is closed, and waits in the same way. So everything is received, and SO_LINGER turned off.
"""

from __future__ import annotations

import array
import os
import socket
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Ancillary = list[tuple[int, int, bytes]]

_MOST = 253
"""SCM_MAX_FD: the most descriptors that a message can have."""
_ROOM = socket.CMSG_SPACE(_MOST * array.array("i").itemsize) + socket.CMSG_SPACE(12)
_OFF = struct.pack("=ii", 0, 0)
_MOST_MESSAGES = 1024


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
    """Close a non-blocking Unix socket, and all descriptors that are in its queue."""
    # Then each message has credentials, so that an empty one is not taken for the end.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    try:
        sock.shutdown(socket.SHUT_RD)  # Nothing more gets into the queue.
    except OSError:
        pass  # Its peer is gone.
    for _ in range(_MOST_MESSAGES):
        try:
            data, fds, others = receive(sock, 1)
        except OSError:
            break
        close(fds)
        if not (data or fds or others):
            break
    sock.close()


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
