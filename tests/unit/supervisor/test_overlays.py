"""Dead sockets are laid over connections that have moved, by one order after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sockact.supervisor.moving.overlays import Overlay

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.gates.shim_orders import ShimOrders


class Ended:
    """Orders to a process that has ended, which are answered at once."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def give(self, _generation: int, words: str, done: Callable[[], None]) -> bool:
        self.words.append(words)
        done()
        return True


def test_an_order_that_is_answered_at_once(loop: Loop) -> None:
    """The next one is given all the same."""
    orders = Ended()
    overlay = Overlay(loop, cast("ShimOrders", orders), 1)
    overlay.add({7})
    overlay.add({8})
    assert orders.words == ["overlay 7", "overlay 8"]
    finished: list[bool] = []
    overlay.finish(lambda: finished.append(True))
    assert finished == [True]
