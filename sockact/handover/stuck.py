"""Does anybody take what waits in the accept queues?

A connection that nobody has accepted yet belongs to no program: sock_diag shows it with inode 0,
and its last received bytes are as old as its request. So it shows one that a program has closed and
that still has bytes to send, but in other states.
"""

from __future__ import annotations

from sockact.kernel import sock_diag
from sockact.kernel.listener import accept_queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.listener import Listener

_QUEUED = (sock_diag.ESTABLISHED, sock_diag.CLOSE_WAIT)


def longest_wait(listeners: list[Listener]) -> float:
    """Seconds for which the oldest of the connections has waited to be accepted, at least.

    0.0 when nobody waits, and where the kernel does not tell (Unix sockets, no sock_diag).
    """
    longest = 0
    for listener in listeners:
        queue = accept_queue(listener)
        if queue is None or not queue[0]:
            continue
        try:
            connections = list(
                sock_diag.tcp_connections(listener.socket.family, listener.address.port)
            )
        except OSError:
            continue
        waiting = [x.last_received for x in connections if not x.inode and x.state in _QUEUED]
        longest = max([longest, *waiting])
    return longest / 1000
