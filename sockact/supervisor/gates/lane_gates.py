"""Gates of generations that have a lane of their own: new clients are steered past it.

Nothing in the program is touched, and nothing has to be waited for. What its lane has got before is
the program's to accept: the drain waits for that (`has_waiting`).
"""

from __future__ import annotations

import time

from sockact.core.lifecycle.model import Gate
from sockact.core.record import dataclass
from sockact.kernel import looks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.gates.lending import Lending

    # (generation, gate, reason)
    Moved = Callable[[int, Gate, str], None]

_HANDSHAKE = 3.0
"""Seconds after which a handshake is no longer waited for: its client is gone."""
_STUCK = 1.0
"""Seconds after which an accept queue that is not getting shorter is passed on."""


@dataclass
class _Closed:
    """A gate that is closed by steering."""

    since: float
    handshakes: frozenset[bytes]
    """Those that had begun before, and may end in the lane."""
    waiting: int = 0
    """The length of the accept queue at the last look."""
    unchanged: float = 0.0
    """Since when it has had this length."""


class LaneGates:
    """Closes and opens such gates."""

    def __init__(self, lending: Lending, moved: Moved) -> None:
        self._lending = lending
        self._moved = moved
        self._closed: dict[int, _Closed] = {}

    def close(self, number: int) -> bool:
        """Close a gate, if clients can be steered elsewhere; return whether they can.

        `moved` is called then. Raises Unavailable.
        """
        self._lending.follow()
        if not self._lending.is_bypassed(number):
            return False
        self.take_over(number)
        self._moved(number, Gate.CLOSED, "")
        return True

    def open(self, number: int) -> bool:
        """Open a gate that was closed by steering; return whether it was. Raises
        Unavailable.
        """
        self._lending.follow()
        if number not in self._closed:
            return False
        self.forget(number)
        self._moved(number, Gate.OPEN, "")
        return True

    def is_closed(self, number: int) -> bool:
        """Whether the gate of a generation is closed by steering."""
        return number in self._closed

    def has_waiting(self, number: int) -> bool:
        """Whether a generation whose gate is closed by steering has not accepted all that came
        before. What one that is stuck does not accept is passed on. Raises OSError.
        """
        closed = self._closed.get(number)
        if closed is None:
            return False
        lanes = self._lending.lanes
        if closed.handshakes and time.monotonic() - closed.since < _HANDSHAKE:
            # Before the queue: a handshake that ends meanwhile is in it.
            closed.handshakes &= lanes.handshakes()
            if closed.handshakes:
                return True
        lane = self._lending.lane_of(number)
        if lanes.is_empty(lane):
            return False
        waiting, now = lanes.waiting(lane), time.monotonic()
        if waiting != closed.waiting:
            closed.waiting, closed.unchanged = waiting, now
        elif waiting and now - closed.unchanged >= _STUCK:
            # Nobody is in accept(2), which the shutdown would end: the queue would be empty.
            self._lending.pass_on(number)
        return True

    def inodes(self, number: int) -> set[int]:
        """Return the listeners that a generation has."""
        return {listener.inode for listener in self._lending.listeners_of(number)}

    def is_own(self, number: int) -> bool:
        """Whether a generation has a lane of its own."""
        return self._lending.is_alone(number)

    def take_over(self, number: int) -> None:
        """Take note of a gate that is closed by steering. Raises Unavailable."""
        try:
            handshakes = self._lending.lanes.handshakes()
        except OSError as error:
            if looks.is_for_want(error):
                raise looks.as_unavailable(error) from None
            handshakes = frozenset()  # The kernel does not tell.
        self._closed[number] = _Closed(time.monotonic(), handshakes)

    def forget(self, number: int) -> None:
        """Forget a generation that has ended, or whose gate opens."""
        self._closed.pop(number, None)
