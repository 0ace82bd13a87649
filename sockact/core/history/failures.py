"""Failures of a program's generations, counted in a window of time.

Times are CLOCK_REALTIME in seconds: the window outlives the supervisor, and CLOCK_MONOTONIC does
not outlive a reboot. After the clock was set back, failures in the future count.
"""

from __future__ import annotations

from sockact.core.record import dataclass

MOST = 100
"""Number of failures that are remembered."""


@dataclass(frozen=True)
class Failure:
    """A generation that never became ready, or died, and why."""

    at: float
    generation: int
    reason: str


@dataclass(frozen=True)
class Window:
    """At most `burst` failures in `interval` seconds, as StartLimitBurst= of systemd."""

    interval: float
    burst: int

    def recent(self, failures: tuple[Failure, ...], now: float) -> tuple[Failure, ...]:
        """The failures within the interval."""
        return tuple(failure for failure in failures if failure.at > now - self.interval)

    def is_full(self, failures: tuple[Failure, ...], now: float) -> bool:
        """Whether the limit has been reached. Never with a burst of 0."""
        return bool(self.burst) and len(self.recent(failures, now)) >= self.burst


def describe(recent: tuple[Failure, ...], interval: float) -> str:
    """The recent failures in words; "" if there are none."""
    if not recent:
        return ""
    times = "1 failure" if len(recent) == 1 else f"{len(recent)} failures"
    return f"{times} in the last {_span(interval)}, most recently: {recent[-1].reason}"


def _span(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
