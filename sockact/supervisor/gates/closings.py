"""Ends the connections of draining generations, all at once or spread over a time: docs/drain.md.

A service that stops spreads nothing: there is no generation that its clients could come back to.
"""

from __future__ import annotations

import time
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sockact.core.lifecycle.model import Service
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.gates.shim_orders import ShimOrders

_MARGIN = 1.0
"""Seconds from the last closing to the drain timeout: a closed connection takes time to end."""


class Closings:
    """The ends of connections of one service."""

    def __init__(
        self,
        loop: Loop,
        orders: ShimOrders,
        spread: Callable[[], float],
        deadline_of: Callable[[int], float | None],
        is_stopping: Callable[[], bool],
    ) -> None:
        """`spread` returns over how many seconds the closings of a drain are spread, by the current
        settings; `deadline_of` when the drain of a generation times out, None without a drain.
        """
        self._loop = loop
        self._orders = orders
        self._spread = spread
        self._deadline_of = deadline_of
        self._is_stopping = is_stopping
        self._until: dict[int, float] = {}
        """Generation → when the last of its connections is closed."""
        self._timers: dict[int, Timer] = {}
        """Generation → when its WebSockets begin to be closed."""

    def end_connections(self, number: int, among: Collection[int] | None = None) -> None:
        """End each connection of a generation, or of the processes `among` its own, with a response
        that has not begun.
        """
        if seconds := self._seconds(number):
            self._until[number] = time.monotonic() + seconds
            # Before `drain`. A shim of an earlier version does not know it, and spreads nothing.
            self._orders.give(number, f"spread {seconds:.3f}", among=among)
        self._orders.end_connections(number, among)

    def keep_connections(self, number: int) -> None:
        """Undo `end_connections`."""
        self._until.pop(number, None)
        self._orders.keep_connections(number)

    def is_spread(self, number: int) -> bool:
        """Whether connections of this generation may still end with an announcement later."""
        return time.monotonic() < self._until.get(number, 0.0) and not self._is_stopping()

    def follow(self, service: Service) -> None:
        """Close WebSockets towards the end of each drain, as this state of the service asks for."""
        for g in service.generations:
            timer = self._timers.get(g.number)
            begins: float | None = None
            if g.drain_deadline is not None and (spread := self._spread()):
                begins = g.drain_deadline - spread - _MARGIN
            if begins != (timer.when if timer else None):
                self._cancel(g.number)
                if begins is not None:
                    end = partial(self._end_websockets, g.number)
                    self._timers[g.number] = self._loop.at(begins, end)

    def forget(self, number: int) -> None:
        """Forget a generation that is gone."""
        self._until.pop(number, None)
        self._cancel(number)

    def _seconds(self, number: int) -> float:
        """Return how long its closings may take from now on; 0: they are not spread."""
        if self._is_stopping():
            return 0.0
        spread, deadline = self._spread(), self._deadline_of(number)
        if deadline is not None:
            spread = min(spread, deadline - _MARGIN - time.monotonic())
        return max(spread, 0.0)

    def _end_websockets(self, number: int) -> None:
        if seconds := self._seconds(number):
            self._orders.give(number, f"close websockets {seconds:.3f}")

    def _cancel(self, number: int) -> None:
        if timer := self._timers.pop(number, None):
            timer.cancel()
