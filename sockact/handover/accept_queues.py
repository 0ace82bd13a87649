"""Does anybody take what waits in the accept queues?

A connection that nobody has accepted yet belongs to no program: sock_diag shows it with inode 0. So
it shows one that a program has closed and that still has bytes to send, but in other states. A
queue is worked off from its head, so it has not moved as long as everybody is still there who was
there before.
"""

from __future__ import annotations

from sockact.kernel.sockets import sock_diag
from sockact.kernel.sockets.listener import accept_queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.sockets.listener import Listener

_QUEUED = (sock_diag.ESTABLISHED, sock_diag.CLOSE_WAIT)


class AcceptQueues:
    """The TCP accept queues of one service. Of Unix sockets the kernel does not tell who waits."""

    def __init__(self, listeners: list[Listener]) -> None:
        self._listeners = listeners
        self._before: dict[int, tuple[set[bytes], float]] = {}

    def stuck_for(self, now: float) -> float:
        """Seconds for which one of the queues has not moved, as far as earlier looks tell.

        0.0 when all are empty or move, and where the kernel does not tell.
        """
        return max((self._look(listener, now) for listener in self._listeners), default=0.0)

    def _look(self, listener: Listener, now: float) -> float:
        waiting = _waiting(listener)
        before, since = self._before.get(listener.inode, (set(), now))
        if before and before <= waiting:
            return now - since
        self._before[listener.inode] = waiting, now
        return 0.0


def _waiting(listener: Listener) -> set[bytes]:
    """Who waits to be accepted."""
    queue = accept_queue(listener)
    if queue is None or not queue[0]:
        return set()
    try:
        found = sock_diag.tcp_connections(listener.socket.family, listener.address.port, {0})
        return {x.identity for x in found if x.state in _QUEUED}
    except OSError:
        return set()
