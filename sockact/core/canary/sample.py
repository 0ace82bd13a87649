"""Samples: what has been counted of one generation, and how durations are counted.

The counters of a sample only grow while its generation lives. The differences between two samples
are what happened in between. A source that is not available stays 0, or None.
"""

from __future__ import annotations

import math

from sockact.core.record import dataclass, replace

SHORTEST = 1e-5
"""Seconds at the lower edge of the first bucket."""
PER_OCTAVE = 8
"""Buckets between a duration and twice that duration; each is 9 % wide."""
BUCKETS = 27 * PER_OCTAVE
"""From 10 µs to 22 min. Shorter and longer durations are in the first and the last bucket."""


def bucket(seconds: float) -> int:
    """The bucket that counts this duration: floor(8 · log2(seconds / 10 µs)), from 0 to 215."""
    if seconds <= SHORTEST:
        return 0
    return min(BUCKETS - 1, int(math.log2(seconds / SHORTEST) * PER_OCTAVE))


def edge(position: float) -> float:
    """The duration, in seconds, at this position: a whole number is a bucket's lower edge."""
    return SHORTEST * math.exp2(position / PER_OCTAVE)


@dataclass(frozen=True)
class Sample:
    """The counters and gauges of one generation at one moment."""

    requests: int = 0
    """Requests that have ended, failed ones included."""
    errors: int = 0
    """Requests that the server answered with a status of 500 or above."""
    resets: int = 0
    """Connections that the server reset, or closed without a response."""
    durations: tuple[int, ...] = ()
    """Requests by `bucket` of their duration; buckets that are missing at the end are 0."""
    deaths: int = 0
    """Worker processes that were killed by a signal or exited with a failure."""
    lines: int = 0
    """Lines on standard error."""
    cpu: float = 0.0
    """Seconds of CPU time."""
    queue_age: float | None = None
    """Seconds that the oldest connection in the accept queue has waited; 0: the queue is empty."""
    memory: int | None = None
    """Bytes that the generation uses beyond what it used when it became ready."""
    connections: int = 0
    """Open connections."""

    @property
    def failures(self) -> int:
        """Failed requests, never more than there were."""
        return min(self.requests, self.errors + self.resets)

    def since(self, before: Sample) -> Sample:
        """What was counted after `before`; the gauges are as they are now."""
        return replace(
            self,
            # A counter whose source began anew may have gone back.
            requests=max(0, self.requests - before.requests),
            errors=max(0, self.errors - before.errors),
            resets=max(0, self.resets - before.resets),
            durations=_grown(self.durations, before.durations),
            deaths=max(0, self.deaths - before.deaths),
            lines=max(0, self.lines - before.lines),
            cpu=max(0.0, self.cpu - before.cpu),
        )


def _grown(now: tuple[int, ...], before: tuple[int, ...]) -> tuple[int, ...]:
    """What each bucket of a histogram has got since `before`, never less than 0."""
    if now == before:  # At most looks at a service with few clients.
        return (0,) * len(now)
    padded = before + (0,) * (len(now) - len(before))
    # A list, as it is faster than a generator, for hundreds of buckets several times at each look.
    grown = [at - then if at > then else 0 for at, then in zip(now, padded, strict=False)]
    return tuple(grown)


@dataclass(frozen=True)
class Pair:
    """Samples of both generations at the same moment, or between the same moments."""

    baseline: Sample = Sample()
    canary: Sample = Sample()

    def since(self, before: Pair) -> Pair:
        """What was counted after `before`."""
        return Pair(self.baseline.since(before.baseline), self.canary.since(before.canary))

    @property
    def least(self) -> int:
        """Requests of the generation that had fewer."""
        return min(self.baseline.requests, self.canary.requests)

    def least_since(self, before: Pair) -> int:
        """`since(before).least`, without the histograms; below 0 if counters have begun anew."""
        return min(
            self.baseline.requests - before.baseline.requests,
            self.canary.requests - before.canary.requests,
        )
