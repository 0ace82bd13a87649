"""Who is at the other end of a Unix socket: unix(7), SO_PEERCRED (Linux 2.2)."""

from __future__ import annotations

import _socket  # What `socket` adds to it takes longer to load than a call takes.
import struct

_CREDENTIALS = struct.Struct("=iII")


def credentials(sock: _socket.socket) -> tuple[int, int, int]:
    """The pid, uid and gid of the process that has called connect(2) or listen(2) there.

    The pid is 0 for a process outside of our PID namespace. Raises OSError.
    """
    found = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(found)
    return pid, uid, gid
