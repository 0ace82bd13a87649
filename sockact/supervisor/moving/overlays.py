"""Has the shims of a generation lay a dead socket over what they hold of moved connections, so that
a shutdown() there has no effect on the clients.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.gates.shim_orders import ShimOrders

_MOST = 500
"""Connections of one order, which is one packet."""
_PATIENCE = 0.5
"""Seconds to wait for the shims. A program that does not answer gets its stop signal all the same.
"""


class Overlay:
    """The orders to one generation, one at a time."""

    def __init__(self, loop: Loop, orders: ShimOrders, number: int) -> None:
        self._loop = loop
        self._orders = orders
        self._number = number
        self._left: list[int] = []
        self._ordered = False
        self._then: Callable[[], None] | None = None
        self._timer: Timer | None = None

    def add(self, inodes: set[int]) -> None:
        """Lay a dead socket over these."""
        self._left += inodes
        self._order()

    def finish(self, then: Callable[[], None]) -> None:
        """Call `then` when the orders have been carried out, or soon."""
        self._then = then
        self._timer = self._loop.at(time.monotonic() + _PATIENCE, self._finished)
        self._order()

    def _order(self) -> None:
        if self._ordered:
            return
        if not self._left:
            self._finished()
            return
        some, self._left = self._left[:_MOST], self._left[_MOST:]
        words = " ".join(map(str, ["overlay", *some]))
        self._ordered = True  # First: processes that have ended answer at once.
        if not self._orders.give(self._number, words, self._answered):
            self._ordered = False
            self._left.clear()  # There is no shim.
            self._finished()

    def _answered(self) -> None:
        self._ordered = False
        self._order()

    def _finished(self) -> None:
        then, self._then = self._then, None
        if self._timer is not None:
            self._timer.cancel()
        if then is not None:
            then()
