"""Orders to the shims of one generation, until no process is left that has not heard."""

from __future__ import annotations

from functools import partial

from sockact.core.lifecycle.model import Gate
from sockact.handover.gate import GateRefused
from sockact.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # (processes that have heard) → order for each one that has not, "" for none; GateRefused,
    # OSError
    Orders = Callable[[set[int]], dict[int, str]]
    # (pid, order, done)
    Tell = Callable[[int, str, Callable[[str], None]], None]
    # (gate, reason)
    Over = Callable[[Gate, str], None]
    # pid → has the gate not moved when this process has not done as it was told?
    Matters = Callable[[int], bool]


# A program that forks without end does not keep a gate from moving.
_MOST_TOLD = 10_000


class Round:
    """One move of a gate; `over` is called once, with NONE when it failed, unless superseded."""

    def __init__(
        self, target: Gate, orders: Orders, tell: Tell, over: Over, matters: Matters
    ) -> None:
        self._target = target
        self._orders = orders
        self._tell = tell
        self._over = over
        self._matters = matters
        self._told: set[int] = set()
        self._due: dict[int, tuple[str, int]] = {}
        self._waiting: set[int] = set()
        self._error = ""
        self._superseded = False

    def supersede(self) -> None:
        """Another move has been ordered: no more orders of this one, and `over` is not called.

        What a process has been told comes before what the other move tells it.
        """
        self._superseded = True

    def begin(self) -> None:
        """Give the first orders."""
        try:
            self._give(self._orders(self._told))
        except (GateRefused, OSError) as error:
            self._over(Gate.NONE, str(error))

    def _give(self, orders: dict[int, str]) -> None:
        self._told.update(orders)
        self._due = {pid: (words, _parent(pid)) for pid, words in orders.items() if words}
        self._go_on()

    def _go_on(self) -> None:
        """Tell those whose parents have answered.

        A child may have its parent's epoll instance. It is the parent that has to take the listener
        out: what stands in for it there must not go when the child ends. To open, all are told at
        once: clients wait.
        """
        closing = self._target is Gate.CLOSED
        unheard = self._waiting | self._due.keys() if closing else set()
        ready = {pid: words for pid, (words, up) in self._due.items() if up not in unheard}
        self._waiting.update(ready)
        for pid in ready:
            del self._due[pid]
        for pid, words in ready.items():
            self._tell(pid, words, partial(self._answered, pid))
        if not self._waiting:
            self._look_again()

    def _answered(self, pid: int, error: str) -> None:
        self._waiting.discard(pid)
        if self._superseded:
            return
        if error and self._matters(pid):
            self._error = f"process {pid}: {error}"
        self._go_on()

    def _look_again(self) -> None:
        """Forked by somebody who had not heard yet, a process is born with the old gate."""
        while not self._error and len(self._told) < _MOST_TOLD:
            born = self._born()
            if any(born.values()):
                self._give(born)
                return
            if not born:
                break
            self._told.update(born)
        reached = Gate.NONE if self._error else self._target
        self._over(reached, self._error)

    def _born(self) -> dict[int, str]:
        try:
            return self._orders(self._told)
        except GateRefused as error:
            self._error = str(error)
        except OSError as error:
            # A gate that is open in part serves; one that is closed in part is not closed.
            if self._target is Gate.CLOSED:
                self._error = f"its processes cannot be looked at: {error.strerror}"
        return {}


def _parent(pid: int) -> int:
    try:
        process = procfs.process(pid)
    except OSError:
        return 0  # hidden, or not to be told now
    return process.parent if process else 0
