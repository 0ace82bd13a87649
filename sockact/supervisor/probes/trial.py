"""Monitors a generation on trial: its probe, and whether it accepts connections. docs/trial.md.

Reports only what it finds; core/lifecycle/trial.py decides.
"""

from __future__ import annotations

import time

from sockact.core.record import dataclass
from sockact.handover.accept_queues import AcceptQueues
from sockact.supervisor.probes.attempts import Attempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.probes.attempts import Start

STUCK_AFTER = 5.0
"""Seconds: no process accepts from a queue that has not moved for this long."""
_LOOK_EVERY = 1.0


@dataclass(frozen=True)
class TrialChecks:
    """What is checked during a trial, and how often. Times in seconds."""

    start: Start | None
    """Starts a run of the probe, if there is one."""
    listeners: list[Listener]
    interval: float
    threshold: int
    """Number of consecutive failed probes after which the trial fails."""


class TrialMonitor:
    """Probes at once and after each interval, and watches the accept queues, until stopped."""

    def __init__(
        self,
        loop: Loop,
        checks: TrialChecks,
        passed: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._checks = checks
        self._passed = passed
        self._failed = failed
        self._queues = AcceptQueues(lambda: checks.listeners)
        self._failures = 0
        self._attempts = checks.start and Attempts(checks.start, self._probed)
        self._timer: Timer | None = None
        self._queue_timer: Timer | None = None
        self._look_at_queue()
        self._probe()

    def stop(self) -> None:
        """Stop probing and watching, and kill the current attempt."""
        for timer in (self._timer, self._queue_timer):
            if timer:
                timer.cancel()
        if self._attempts:
            self._attempts.stop()

    def _look_at_queue(self) -> None:
        now = time.monotonic()
        self._queue_timer = self._loop.at(now + _LOOK_EVERY, self._look_at_queue)
        stuck = self._queues.stuck_for(now)
        if stuck >= STUCK_AFTER:
            self._failed(f"not accepting connections for {stuck:.0f} s")

    def _probe(self) -> None:
        if self._attempts:
            self._timer = self._loop.at(time.monotonic() + self._checks.interval, self._probe)
            self._attempts.begin()

    def _probed(self, reason: str) -> None:
        if not reason:
            self._failures = 0
            self._passed()
            return
        self._failures += 1
        if self._failures >= self._checks.threshold:
            times = f" {self._failures} times in a row" if self._failures > 1 else ""
            self._failed(f"the probe failed{times}: {reason}")
