"""A budget for what a peer may ask of the supervisor, so that none keeps it busy."""

from __future__ import annotations

import time

_MOST = 2048.0
_EACH_SECOND = 512.0

MEMBER = 1.0
"""Cost of a request of one of the program's own processes that nobody has asked for."""
STRANGER = 8.0
"""Cost of looking up a process that turns out to be none of the program's."""
_COST_OF_A_SECOND = 10 * _EACH_SECOND
"""Cost of a second of CPU time, so that requests together take no more than a tenth of one."""
PAUSE = 0.25
"""Seconds to leave a socket alone whose budget is used up."""


class Budget:
    """The budget of one socket, which grows with time."""

    def __init__(self) -> None:
        self._left = _MOST
        self._at = time.monotonic()

    def spend(self, cost: float, since: float | None = None) -> bool:
        """Spend this; return whether anything is left. With `since`, at least what the supervisor
        has worked since then (time.process_time()): a process may have a thousand ancestors.
        """
        if since is not None:
            cost = max(cost, (time.process_time() - since) * _COST_OF_A_SECOND)
        now = time.monotonic()
        self._left = min(_MOST, self._left + (now - self._at) * _EACH_SECOND) - cost
        self._at = now
        return self._left > 0
