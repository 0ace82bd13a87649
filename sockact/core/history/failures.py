"""The launches of a program that came to nothing, counted in a window of time.

Wall-clock times in seconds since 1970: the window outlives the supervisor, and CLOCK_MONOTONIC does
not outlive the machine. A clock that was set back makes failures of the future, which count.
"""

from __future__ import annotations

from sockact.core.record import dataclass

MOST = 100
"""So many are remembered."""


@dataclass(frozen=True)
class Failure:
    """One generation that never got ready, or died, and why."""

    at: float
    generation: int
    reason: str


@dataclass(frozen=True)
class Window:
    """At most `burst` failures in `interval` seconds; as systemd's StartLimitBurst=."""

    interval: float
    burst: int

    def recent(self, failures: tuple[Failure, ...], now: float) -> tuple[Failure, ...]:
        """Those that count."""
        return tuple(failure for failure in failures if failure.at > now - self.interval)

    def is_full(self, failures: tuple[Failure, ...], now: float) -> bool:
        """Has the limit been reached? Never with a burst of 0."""
        return bool(self.burst) and len(self.recent(failures, now)) >= self.burst


def describe(recent: tuple[Failure, ...], interval: float) -> str:
    """In words, for people; "" when there are none."""
    if not recent:
        return ""
    times = "1 failure" if len(recent) == 1 else f"{len(recent)} failures"
    return f"{times} in the last {_span(interval)}, the last: {recent[-1].reason}"


def _span(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
