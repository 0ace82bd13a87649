"""A socket that shims connect to, and its budget."""

from __future__ import annotations

import time

from sockact.kernel.sockets import received
from sockact.supervisor.base.loop import READ
from sockact.supervisor.processes.budget import PAUSE, Budget
from sockact.trust import peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop

    # (connection, pid of the peer) → what it costs. Closes the connection, or keeps it.
    Accepted = Callable[[socket.socket, int], float]

_QUEUE = 64


class ShimDoor:
    """One listening socket."""

    def __init__(self, loop: Loop, listening: socket.socket, accepted: Accepted) -> None:
        self._loop = loop
        self._socket = listening
        self._accepted = accepted
        self._budget = Budget()
        listening.setblocking(False)
        self._watch()

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        if self._loop.watched(self._socket.fileno()):
            self._loop.unwatch(self._socket.fileno())
        received.close_listening(self._socket)

    def _watch(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno(), READ, self._accept)

    def _pause(self) -> None:
        self._loop.unwatch(self._socket.fileno())
        self._loop.at(time.monotonic() + PAUSE, self._watch)

    def _accept(self, _mask: int) -> None:
        if not received.close_kept():
            self._pause()  # Each further connection might have to be kept, too.
            return
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # No descriptors left: the waiting connection would keep the loop spinning.
            self._pause()
            return
        connection.setblocking(False)
        pid, _, _ = peer.credentials(connection)
        began = time.process_time()
        cost = self._accepted(connection, pid)
        if not self._budget.spend(cost, began if cost else None):
            self._pause()


def listen(sock: socket.socket) -> None:
    """Listen with the queue of a door."""
    sock.listen(_QUEUE)
