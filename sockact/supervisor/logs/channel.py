"""What the supervisor and the log pump tell each other: JSON objects, one a datagram.

unix(7), SOCK_SEQPACKET. Neither ever waits for the other: what finds no room is sent later.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Message = dict[str, Any]

_LONGEST = 1 << 17
_PASSING = (errno.ETOOMANYREFS, errno.ENOMEM, errno.ENOBUFS)


class Channel:
    """One end. `fd` of a message is a descriptor that goes with it; the sender keeps its own."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self.stuck = False
        """Is something left for another reason than want of room? No event tells when to go on."""

    def fileno(self) -> int:
        return self._socket.fileno()

    def tell(self, message: Message, fd: int | None = None) -> None:
        """Send it, now or by `flush`. To an end that is gone it is lost."""
        self._unsent.append((json.dumps(message).encode(), [] if fd is None else [fd]))
        self.flush()

    def flush(self) -> bool:
        """Send what was left; False while there is still no room."""
        while self._unsent:
            data, fds = self._unsent[0]
            try:
                socket.send_fds(self._socket, [data], fds)
            except OSError as error:
                self.stuck = error.errno in _PASSING
                if self.stuck or isinstance(error, BlockingIOError):
                    return False
                self._unsent.clear()  # Whoever reads here sees the end of the other one.
                break
            self._unsent.popleft()
        self.stuck = False
        return True

    @property
    def crowded(self) -> bool:
        """Is something left to be sent?"""
        return bool(self._unsent)

    def heard(self) -> Iterator[tuple[Message, int | None]]:
        """What has come. Raises EOFError once the other end is gone."""
        while True:
            try:
                data, fds, _flags, _address = socket.recv_fds(self._socket, _LONGEST, 1)
            except BlockingIOError:
                return
            except ConnectionError as error:
                raise EOFError from error
            if not data:
                raise EOFError
            for fd in fds:
                os.set_inheritable(fd, False)
            yield json.loads(data), fds[0] if fds else None

    def close(self) -> None:
        self._socket.close()
