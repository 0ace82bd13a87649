"""The socket between supervisor and log pump: JSON objects, one in each packet.

unix(7), SOCK_SEQPACKET. Neither side ever blocks: messages that find no room are sent later.
"""

from __future__ import annotations

import errno
import socket
from collections import deque

from sockact.core import json_text
from sockact.kernel.sockets import received
from sockact.supervisor.logs import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.supervisor.logs.messages import Message

_LONGEST = 1 << 17
_MOST_HEARD = 512
"""Messages to take at a time, more than the queue of the socket holds."""
_TEMPORARY = (errno.ETOOMANYREFS, errno.ENOMEM, errno.ENOBUFS)


class Channel:
    """One end of the socket. A message may carry a descriptor; the sender keeps its own."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self.stuck = False
        """Whether sending fails for lack of memory or the like; no event tells when to retry."""

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._socket.fileno()

    def tell(self, message: Message, fd: int | None = None) -> None:
        """Send a message, now or with `flush`; it is lost if the other end is gone."""
        self._unsent.append((json_text.encode(message).encode(), [] if fd is None else [fd]))
        self.flush()

    def flush(self) -> bool:
        """Send the remaining messages; return False if some still remain."""
        while self._unsent:
            data, fds = self._unsent[0]
            try:
                socket.send_fds(self._socket, [data], fds)
            except OSError as error:
                self.stuck = error.errno in _TEMPORARY
                if self.stuck or isinstance(error, BlockingIOError):
                    return False
                self._unsent.clear()  # The reader of this end sees that the other one is gone.
                break
            self._unsent.popleft()
        self.stuck = False
        return True

    @property
    def crowded(self) -> bool:
        """Whether messages remain to be sent."""
        return bool(self._unsent)

    def heard(self) -> Iterator[tuple[Message, int | None]]:
        """Yield the messages received; a descriptor is for the caller to close. Raises EOFError
        once the other end is gone.
        """
        for _ in range(_MOST_HEARD):
            try:
                data, fds, _others = received.receive(self._socket, _LONGEST)
            except BlockingIOError:
                return
            except ConnectionError as error:
                raise EOFError from error
            message = messages.read(data)
            received.close(fds if message is None else fds[1:])
            if not data:
                raise EOFError
            if message is not None:
                yield message, fds[0] if fds else None

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
