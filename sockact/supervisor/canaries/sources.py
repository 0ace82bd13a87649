"""Everything that is counted of the two generations of a canary: docs/canary-statistics.md.

No source blocks: what belongs to the program is looked at by a helper (docs/looks.md). A source
that does not answer stays as it was.
"""

from __future__ import annotations

import contextlib
import time

from sockact.core.canary.sample import Pair, Sample
from sockact.core.record import dataclass, field, replace
from sockact.handover import census
from sockact.handover.queue_ages import QueueAges
from sockact.supervisor.canaries.deaths import Deaths
from sockact.supervisor.canaries.usage import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.counting.request_counts import RequestCounts
    from sockact.supervisor.gates.lending import Lending
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.logs.pipes import Pipes
    from sockact.supervisor.processes.processes import Processes

_CONNECTIONS_EVERY = 5
"""Looks between two counts of the connections, which cost more than the rest."""


class _Run:
    """The sources of one canary."""

    def __init__(self, numbers: tuple[int, int], deaths: Deaths, queues: QueueAges) -> None:
        self.numbers = numbers
        """The baseline, then the canary."""
        self.deaths = deaths
        self.queues = queues
        self.usage = (Usage(), Usage())
        self.ages: tuple[float, float] | None = None
        self.connections = [0, 0]
        self.lines = (0, 0)
        self.first_lines: tuple[int, int] | None = None
        """Those when both were known for the first time."""
        self.looks = 0


@dataclass
class Sources:
    """Counts while a canary is under way, and nothing otherwise."""

    _loop: Loop
    _processes: Processes
    _generations: Generations
    _lending: Lending
    _pipes: Pipes
    _counts: RequestCounts
    _run: _Run | None = None
    _at_first: dict[int, int] = field(default_factory=dict)
    """Generation → bytes of memory that it used when it became ready; known only of canaries."""

    def begin(self, baseline: int, canary: int, *, is_new: bool) -> tuple[Pair, bool]:
        """Count these generations from now on; the result is that of `look`. `is_new`: the canary
        has just become ready.
        """
        self.end()
        lanes = self._lending.listeners_of(baseline), self._lending.listeners_of(canary)
        self._run = _Run((baseline, canary), Deaths(self._loop), QueueAges(*lanes))
        for number in self._run.numbers:
            self._counts.start(number)
        found = self._look(self._run)
        known = self._at_first
        self._at_first = {one: known[one] for one in self._run.numbers if one in known}
        if is_new and (memory := self._run.usage[1].memory) is not None:
            self._at_first[canary] = memory
        return found

    def look(self) -> tuple[Pair, bool] | None:
        """Return what has been counted until now, and whether that includes requests; None before
        `begin`.
        """
        return self._look(self._run) if self._run else None

    def end(self) -> None:
        """Count nothing any more."""
        if self._run:
            self._run.deaths.close()
            self._counts.stop()
            self._run = None

    def _look(self, run: _Run) -> tuple[Pair, bool]:
        living = self._processes.latest()
        pids = {number: living.get(number, []) for number in run.numbers}
        roots = {self._processes.root(number) for number in run.numbers}
        run.deaths.look({n: [x for x in own if x not in roots] for n, own in pids.items()})
        for number, usage in zip(run.numbers, run.usage, strict=True):
            with contextlib.suppress(OSError):
                usage.look(pids[number])
        with contextlib.suppress(OSError):
            run.ages = run.queues.look(time.monotonic())
        # Only memory is compared by connection.
        if run.looks % _CONNECTIONS_EVERY == 0 and self._at_first.keys() >= {*run.numbers}:
            self._count_connections(run, pids)
        run.looks += 1
        counted = [self._counts.read(number) for number in run.numbers]
        self._count_lines(run)
        baseline, canary = (
            self._sample(run, place, counted[place] if None not in counted else None)
            for place in (0, 1)
        )
        return Pair(baseline, canary), None not in counted

    def _count_lines(self, run: _Run) -> None:
        found = []
        for number in run.numbers:
            lines = self._generations.lines_of(number)
            found.append(self._pipes.lines(number) if lines is None else lines)
        if found[0] is not None and found[1] is not None:
            run.lines = found[0], found[1]
            run.first_lines = run.first_lines or run.lines

    def _count_connections(self, run: _Run, pids: dict[int, list[int]]) -> None:
        listeners = [*self._lending.lanes.addresses]
        with contextlib.suppress(OSError):
            found = census.count({**pids}, listeners, self._generations.rules_of) or {}
            run.connections = [found[n].total if n in found else 0 for n in run.numbers]

    def _sample(self, run: _Run, place: int, counted: Sample | None) -> Sample:
        number, usage = run.numbers[place], run.usage[place]
        memory = None
        if usage.memory is not None and number in self._at_first:
            memory = max(0, usage.memory - self._at_first[number])
        return replace(
            counted or Sample(),
            deaths=run.deaths.of(number),
            lines=run.lines[place] - run.first_lines[place] if run.first_lines else 0,
            cpu=usage.cpu,
            queue_age=None if run.ages is None else run.ages[place],
            memory=memory,
            connections=run.connections[place],
        )
