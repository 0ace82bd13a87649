"""Asks the shims of a generation which of its connections are WebSockets.

To the kernel an idle WebSocket looks like an idle HTTP connection, which nobody misses.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.gates.shim_orders import ShimOrders

_ORDER = "upgraded"


class WebSockets:
    """The questions to the shims of one service."""

    def __init__(self, orders: ShimOrders) -> None:
        self._orders = orders

    def ask(self, generation: int, told: Callable[[set[int]], None]) -> bool:
        """Ask all processes that have the shim and a listener; return whether there are any.

        `told` is called once, with the inodes of the sockets. A shim that does not answer, or does
        not know the question, has none.
        """
        found: set[int] = set()

        def heard(answer: list[str]) -> None:
            """Take an answer: `upgraded INODE…`."""
            found.update(int(word) for word in answer[1:] if word.isdecimal() and len(word) < 20)

        return self._orders.give(generation, _ORDER, lambda: told(found), heard)
