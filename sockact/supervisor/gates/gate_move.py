"""One move of a gate: gives orders to shims until every process has got one."""

from __future__ import annotations

from functools import partial

from sockact.core.lifecycle.model import Gate
from sockact.handover.gate import GateRefused
from sockact.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # (processes that have their orders) → orders to the others, "" for none.
    # Raises GateRefused, OSError.
    Orders = Callable[[set[int]], dict[int, str]]
    # (pid, order, done)
    Tell = Callable[[int, str, Callable[[str], None]], None]
    # (gate, reason)
    Done = Callable[[Gate, str], None]
    # pid → whether the move fails if this process does not carry out its order
    Matters = Callable[[int], bool]


_MOST_PROCESSES = 10_000
"""Processes that get an order, so that a program which forks without end cannot hold up a gate."""


class GateMove:
    """One move of a gate. Calls `done` once, with NONE if it failed, unless superseded."""

    def __init__(
        self, target: Gate, orders: Orders, tell: Tell, done: Done, matters: Matters
    ) -> None:
        self._target = target
        self._orders = orders
        self._tell = tell
        self._done = done
        self._matters = matters
        self._told: set[int] = set()
        self._due: dict[int, tuple[str, int]] = {}
        self._waiting: set[int] = set()
        self._error = ""
        self._superseded = False

    def supersede(self) -> None:
        """Give no more orders, and never call `done`: another move has begun.

        A process carries out the orders that it has got before those of the other move.
        """
        self._superseded = True

    def begin(self) -> None:
        """Give the first orders."""
        try:
            self._give(self._orders(self._told))
        except (GateRefused, OSError) as error:
            self._done(Gate.NONE, str(error))

    def _give(self, orders: dict[int, str]) -> None:
        self._told.update(orders)
        self._due = {pid: (words, _parent(pid)) for pid, words in orders.items() if words}
        self._proceed()

    def _proceed(self) -> None:
        """Give the orders that are due: to close, only to processes whose parents have answered.

        A child may share its parent's epoll instance. The parent has to take the listener out,
        because the stand-in that it puts there must outlive the child. To open, all orders are
        given at once: clients are waiting.
        """
        closing = self._target is Gate.CLOSED
        waited_for = self._waiting | self._due.keys() if closing else set()
        ready = {pid: words for pid, (words, up) in self._due.items() if up not in waited_for}
        self._waiting.update(ready)
        for pid in ready:
            del self._due[pid]
        for pid, words in ready.items():
            self._tell(pid, words, partial(self._answered, pid))
        if not self._waiting:
            self._look_for_forked()

    def _answered(self, pid: int, error: str) -> None:
        self._waiting.discard(pid)
        if self._superseded:
            return
        # The first error decides. With hundreds of processes the question is expensive.
        if error and not self._error and self._matters(pid):
            self._error = f"process {pid}: {error}"
        self._proceed()

    def _look_for_forked(self) -> None:
        """Give orders to processes that were forked meanwhile by one that had not got its own."""
        while not self._error and len(self._told) < _MOST_PROCESSES:
            forked = self._forked()
            if any(forked.values()):
                self._give(forked)
                return
            if not forked:
                break
            self._told.update(forked)
        reached = Gate.NONE if self._error else self._target
        self._done(reached, self._error)

    def _forked(self) -> dict[int, str]:
        try:
            return self._orders(self._told)
        except GateRefused as error:
            self._error = str(error)
        except OSError as error:
            # A partly open gate counts as open. A partly closed one does not count as closed.
            if self._target is Gate.CLOSED:
                self._error = f"cannot read its processes: {error.strerror}"
        return {}


def _parent(pid: int) -> int:
    try:
        process = procfs.process(pid)
    except OSError:
        return 0  # It is hidden, or /proc cannot be read now.
    return process.parent if process else 0
