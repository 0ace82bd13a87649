"""How long connections have waited in the accept queues of two lanes.

sock_diag(7) shows the connections of a port that are not accepted, and tcp_info how long each has
existed: a connection that nobody has accepted has sent nothing, and tcpi_last_data_sent then counts
from the end of its handshake. The kernel does not tell which lane a connection waits in, only how
many wait in each.
"""

from __future__ import annotations

from sockact.core.matching import Kind
from sockact.handover.accept_queues import QUEUED
from sockact.kernel.looks import apart_for
from sockact.kernel.sockets import sock_diag
from sockact.kernel.sockets.listener import accept_queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.kernel.sockets.listener import Listener

    # Of the baseline and of the canary, in seconds.
    Ages = tuple[float, float]


class QueueAges:
    """TCP accept queues of a canary and of its baseline; Unix sockets have no lanes."""

    def __init__(self, baseline: Sequence[Listener], canary: Sequence[Listener]) -> None:
        """One listener for each address."""
        self._lanes = [*zip(baseline, canary, strict=True)]
        self._empty_at: dict[int, float] = {}
        """By inode, when the baseline's queue was last seen empty."""

    def look(self, now: float) -> Ages | None:
        """How long the oldest connection has waited in the lane of each; 0: none waits.

        Where that is uncertain, the canary's is the least and the baseline's the most that it can
        be. None where the kernel does not show it. Raises OSError.
        """
        found = [self._at_address(*lanes, now) for lanes in self._lanes]
        known = [ages for ages in found if ages is not None]
        if not known:
            return None
        return max(before for before, _ in known), max(mine for _, mine in known)

    def _at_address(self, baseline: Listener, canary: Listener, now: float) -> Ages | None:
        if baseline.address.kind is not Kind.STREAM:
            return None
        before, mine = accept_queue(baseline), accept_queue(canary)
        if before is None or mine is None:
            return None
        if not before[0]:
            self._empty_at[baseline.inode] = now
        if not before[0] and not mine[0]:
            return 0.0, 0.0
        ages = _ages(int(canary.socket.family), canary.address.port)
        most, least = bounds(ages, before[0], mine[0])
        return min(most, now - self._empty_at.get(baseline.inode, 0.0)), least


def bounds(ages: Sequence[float], before: int, mine: int) -> Ages:
    """The most that the oldest of `before` connections can have waited, and the least that the
    oldest of `mine` has, if all of these have waited for `ages`.
    """
    if not ages:
        return 0.0, 0.0
    # The canary's may be the youngest ones.
    least = sorted(ages)[min(mine, len(ages)) - 1] if mine else 0.0
    return max(ages) if before else 0.0, least


@apart_for("connections")
def _ages(family: int, port: int) -> list[float]:
    found = sock_diag.tcp_connections(family, port, {0})
    return [x.last_sent / 1000 for x in found if x.state in QUEUED]
