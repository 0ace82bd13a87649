"""The readiness probe: a command or an HTTP request, repeated until it passes.

The generation's start timeout ends it.
"""

from __future__ import annotations

import time

from sockact.supervisor.probes.attempts import Attempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.probes.attempts import Start

_PAUSE = 0.2
"""Seconds between two attempts."""


class ReadinessProbe:
    """Runs the probe of one generation until it passes."""

    def __init__(
        self,
        loop: Loop,
        start: Start,
        passed: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        """`start` starts a run. `failed` is called when one fails for another reason than the one
        before.
        """
        self.reason = ""
        """Why the last attempt failed."""
        self._loop = loop
        self._attempts = Attempts(start, self._done)
        self._passed = passed
        self._failed = failed
        self._timer: Timer | None = None
        self._attempts.begin()

    def stop(self) -> None:
        """Make no more attempts, and kill the current one."""
        if self._timer:
            self._timer.cancel()
        self._attempts.stop()

    def _done(self, reason: str) -> None:
        if not reason:
            self._passed()
            return
        self._timer = self._loop.at(time.monotonic() + _PAUSE, self._attempts.begin)
        if reason != self.reason:
            self.reason = reason
            self._failed()
