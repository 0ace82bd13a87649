"""Results of the clients: requests, failures by kind, versions, and the duration of each answer.

Times are in seconds of CLOCK_MONOTONIC, which all processes of a machine share, so the tallies of
several client processes can be merged and compared with the times of the reloads.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Failures that are described; all are counted.
EXAMPLES = 20

Window = tuple[float, float]


class Failure(Enum):
    """How a request can fail, as its client sees it."""

    REFUSED = "refused"  # connect() failed, or the queue of a Unix socket was full
    RESET = "reset"  # ECONNRESET or EPIPE at any moment
    EOF = "eof"  # closed before the end of the answer
    WRONG = "wrong"  # another status, another body, or no valid HTTP
    TIMEOUT = "timeout"  # no complete answer within the timeout of the client
    OTHER = "other"  # anything else, such as a client machine without free ports


@dataclass(frozen=True)
class Incident:
    """A failed request: when it began, how long it took, and what the client saw."""

    started: float
    seconds: float
    failure: Failure
    text: str


@dataclass(frozen=True)
class Quantiles:
    """The median, the 99th percentile and the maximum of `count` answers, in seconds."""

    count: int
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, durations: Iterable[float]) -> Quantiles:
        """Nearest-rank percentiles; all zero if there was no answer."""
        ordered = sorted(durations)
        if not ordered:
            return cls(0, 0.0, 0.0, 0.0)
        count = len(ordered)
        return cls(
            count,
            ordered[min(count - 1, count * 50 // 100)],
            ordered[min(count - 1, count * 99 // 100)],
            ordered[-1],
        )


@dataclass
class Tally:
    """The requests with one label. `started` and `seconds` are parallel, for correct answers."""

    requests: int = 0
    failures: Counter[Failure] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    started: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    incidents: list[Incident] = field(default_factory=list)

    def answered(self, started: float, ended: float, version: str) -> None:
        """Count a complete and correct answer."""
        self.requests += 1
        self.versions[version] += 1
        self.started.append(started)
        self.seconds.append(ended - started)

    def failed(self, started: float, ended: float, failure: Failure, text: str) -> None:
        """Count a request without a complete and correct answer."""
        self.requests += 1
        self.failures[failure] += 1
        if len(self.incidents) < EXAMPLES:
            self.incidents.append(Incident(started, ended - started, failure, text))

    def merge(self, other: Tally) -> None:
        """Add the results of another client or process."""
        self.requests += other.requests
        self.failures.update(other.failures)
        self.versions.update(other.versions)
        self.started.extend(other.started)
        self.seconds.extend(other.seconds)
        self.incidents = (self.incidents + other.incidents)[:EXAMPLES]

    def quantiles(self) -> Quantiles:
        """Quantiles of all answers."""
        return Quantiles.of(self.seconds)

    def split(
        self, windows: Sequence[Window], interval: float = 0.0
    ) -> tuple[Quantiles, Quantiles]:
        """Quantiles outside and inside the windows; an answer that overlaps one is inside.

        A client that waits sends nothing, so a stall of all clients would show as one slow answer
        each, among thousands. With `interval`, the usual seconds between two requests of a client,
        the requests that it would have sent in the meantime are counted as well.
        """
        steady: list[float] = []
        during: list[float] = []
        for started, seconds in zip(self.started, self.seconds, strict=True):
            ended = started + seconds
            inside = any(started <= last and ended >= first for first, last in windows)
            side = during if inside else steady
            side.append(seconds)
            while interval and (seconds := seconds - interval) > 0:
                side.append(seconds)
        return Quantiles.of(steady), Quantiles.of(during)


@dataclass
class Report:
    """The results of one load, or of several merged ones: a tally per label."""

    tallies: dict[str, Tally] = field(default_factory=dict)

    def tally(self, label: str) -> Tally:
        """The tally with this label, created if it is missing."""
        return self.tallies.setdefault(label, Tally())

    def merge(self, other: Report) -> None:
        """Add another report."""
        for label, tally in other.tallies.items():
            self.tally(label).merge(tally)

    def total(self) -> Tally:
        """All labels in one tally."""
        total = Tally()
        for tally in self.tallies.values():
            total.merge(tally)
        return total

    def failures(self) -> int:
        """Number of failed requests."""
        return sum(sum(tally.failures.values()) for tally in self.tallies.values())

    def explain(self) -> str:
        """The failures by label and kind, with examples; empty if there were none."""
        lines = []
        for label, tally in self.tallies.items():
            for failure, count in tally.failures.items():
                lines.append(f"{label}: {count} of {tally.requests} {failure.value}")
            lines += [
                f"  {incident.failure.value} after {incident.seconds:.3f} s: {incident.text}"
                for incident in tally.incidents[:5]
            ]
        return "\n".join(lines)
