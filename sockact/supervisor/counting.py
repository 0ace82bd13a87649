"""Counting the connections of a draining generation, also when that fails for a while."""

from __future__ import annotations

import time

from sockact.core.events import Census
from sockact.handover import census

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.model import Policy
    from sockact.kernel.listener import Listener
    from sockact.supervisor.processes import Processes

_LONGEST_PAUSE = 10.0


class Counting:
    """Counts for all generations of one service; `say` is told once for each time of failure."""

    def __init__(
        self,
        processes: Processes,
        listeners: list[Listener],
        policy: Policy,
        say: Callable[[int, str], None],
    ) -> None:
        self._processes = processes
        self._listeners = listeners
        self._policy = policy
        self._say = say
        self._pauses: dict[int, float] = {}

    def count(self, number: int) -> Census:
        """The counts; when there are none, a busy generation that is to be counted again later."""
        began = time.monotonic()
        try:
            counts = census.count({number: self._processes.of(number)}, self._listeners)
        except OSError as error:
            return self._failed(number, error)
        self.forget(number)
        found = counts[number] if counts else census.Counts()
        cost = time.monotonic() - began
        return Census(number, found.busy, found.fresh, found.quiet, cost)

    def forget(self, number: int) -> None:
        self._pauses.pop(number, None)

    def _failed(self, number: int, error: OSError) -> Census:
        if number not in self._pauses:
            self._say(number, f"connections cannot be counted now ({error}); trying again")
        pause = 2 * self._pauses.get(number, self._policy.census_interval)
        self._pauses[number] = min(pause, _LONGEST_PAUSE)
        # The lifecycle makes the interval of what counting costs.
        cost = self._pauses[number] * self._policy.census_share
        return Census(number, busy=1, fresh=0, quiet=0, cost=cost)
