"""Lays decoys under the listeners of Python programs before they get their stop signal.

A listener that was taken out of epoll from outside is still at its descriptor. C code in the
program (gRPC's, say) may call shutdown() on it when the program ends, which ends it for all
generations. With a decoy at the descriptor, that has no effect: docs/gate.md.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.gates.shim_orders import ShimOrders

_PATIENCE = 0.5
"""Seconds to wait for the shims. A program that does not answer gets its stop signal all the same.
"""


class Decoys:
    """Orders decoys for the generations of one service."""

    def __init__(self, loop: Loop, orders: ShimOrders, listeners: list[Listener]) -> None:
        self._loop = loop
        self._orders = orders
        self._words = " ".join(["gate closed all", *(str(x.inode) for x in listeners)])

    def lay(self, generation: int, then: Callable[[], None]) -> None:
        """Lay decoys in each process that has the shim and a listener, then call `then` once."""
        timer = self._loop.at(time.monotonic() + _PATIENCE, then)

        def laid() -> None:
            if timer.callback is not None:
                timer.cancel()
                then()

        if not self._orders.give(generation, self._words, laid):
            laid()
