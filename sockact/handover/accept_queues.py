"""Accept queues: does the program accept the connections that wait there?

A connection that has not been accepted belongs to no program: sock_diag(7) shows it with inode 0.
A closed one with bytes left to send also has inode 0, but is in another state. A queue is emptied
from its head, so it has not moved as long as every connection that was there is still there.
"""

from __future__ import annotations

from sockact.kernel.looks import apart_for
from sockact.kernel.sockets import sock_diag
from sockact.kernel.sockets.listener import accept_queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockact.kernel.sockets.listener import Listener

QUEUED = (sock_diag.ESTABLISHED, sock_diag.CLOSE_WAIT)


class AcceptQueues:
    """TCP accept queues. For Unix sockets the kernel does not show them."""

    def __init__(self, listeners: Callable[[], Iterable[Listener]]) -> None:
        """`listeners` returns those to look at."""
        self._listeners = listeners
        self._before: dict[int, tuple[set[bytes], float]] = {}

    def stuck_for(self, now: float) -> float:
        """How long one of the queues has not moved, in seconds, as far as earlier calls tell.

        `now` is CLOCK_MONOTONIC in seconds. 0.0 if every queue is empty or moves, and where the
        kernel does not show it.
        """
        return max((self._look(listener, now) for listener in self._listeners()), default=0.0)

    def forget(self) -> None:
        """Forget what earlier calls tell."""
        self._before.clear()

    def _look(self, listener: Listener, now: float) -> float:
        waiting = _waiting(listener)
        before, since = self._before.get(listener.inode, (set(), now))
        if before and before <= waiting:
            return now - since
        self._before[listener.inode] = waiting, now
        return 0.0


def _waiting(listener: Listener) -> set[bytes]:
    """The identities of the connections that wait to be accepted."""
    queue = accept_queue(listener)
    if queue is None or not queue[0]:
        return set()
    try:
        return _queued(int(listener.socket.family), listener.address.port)
    except OSError:
        return set()


@apart_for("connections")
def _queued(family: int, port: int) -> set[bytes]:
    found = sock_diag.tcp_connections(family, port, {0})
    return {x.identity for x in found if x.state in QUEUED}
