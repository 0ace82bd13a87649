"""What the generations of a canary answer: status classes and durations, counted by their shims."""

from __future__ import annotations

from functools import partial

from sockact.core.canary.sample import Sample
from sockact.supervisor.counting.counted_page import (
    COUNTERS,
    ERRORS,
    KINDS,
    RESETS,
    CountedPage,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls

_MOST_PAGES = 128
"""Processes of a generation that count, each of which costs a descriptor. The others do not."""


class _Process:
    """A process of a generation, and its page if it has one."""

    def __init__(self) -> None:
        self.page: CountedPage | None = None
        self.asked = 0
        self.pause = 0
        """Looks until it is asked again."""
        self.waiting = False
        """Whether it has been called and has not answered yet."""

    @property
    def counts(self) -> bool:
        """Whether it has counted a request."""
        return self.page is not None and self.page.used

    def close(self) -> None:
        """Close the page."""
        if self.page:
            self.page.close()
            self.page = None


class _Generation:
    """The processes of a generation, and what all it has had have counted."""

    def __init__(self) -> None:
        self.processes: dict[int, _Process] = {}
        self.totals = [0] * COUNTERS
        self.counts = False
        """Whether one of its processes has a server that is counted."""

    def has_room(self) -> bool:
        """Whether another process may count."""
        return sum(one.page is not None for one in self.processes.values()) < _MOST_PAGES

    def sample(self) -> Sample:
        """Return the totals."""
        return Sample(
            requests=sum(self.totals[:KINDS]),
            errors=self.totals[ERRORS],
            resets=self.totals[RESETS],
            durations=tuple(self.totals[KINDS:]),
        )


class RequestCounts:
    """The requests of each generation that was started, until all are stopped."""

    def __init__(self, processes: Processes, calls: ShimCalls) -> None:
        self._processes = processes
        self._calls = calls
        self._generations: dict[int, _Generation] = {}

    def start(self, generation: int) -> None:
        """Make the processes of this generation count their requests."""
        if generation not in self._generations:
            self._generations[generation] = _Generation()
            self._look(generation, self._generations[generation])

    def read(self, generation: int) -> Sample | None:
        """Return what they have counted; None if no process of it counts, or it was not started.

        Processes that are new, or have counted nothing yet, are made to count.
        """
        found = self._generations.get(generation)
        if found is None:
            return None
        self._look(generation, found)
        return found.sample() if found.counts else None

    def stop(self) -> None:
        """Make all processes stop counting, and forget what they have counted."""
        stopped, self._generations = self._generations, {}
        for number, generation in stopped.items():
            living = self._processes.of(number)
            for pid, process in generation.processes.items():
                if process.page and pid in living:
                    self._calls.order(pid, "uncount", lambda _error: None)
                process.close()

    def _look(self, number: int, generation: _Generation) -> None:
        # Before the pages are read: what is not among them has counted its last request.
        living = dict.fromkeys(self._processes.of(number))
        for pid, process in tuple(generation.processes.items()):
            _add(process, generation.totals)
            if pid not in living:
                process.close()
                del generation.processes[pid]
        for pid in living:
            process = generation.processes.setdefault(pid, _Process())
            if not (process.waiting or process.counts):
                self._ask(pid, process, generation)

    def _ask(self, pid: int, process: _Process, generation: _Generation) -> None:
        """Make a process count. One that cannot, or has had no requests, is asked again after 2,
        4, 8 looks: it may have loaded its server since.
        """
        process.pause -= 1
        if process.pause > 0:
            return
        process.asked += 1
        process.pause = 2**process.asked
        if not self._reaches(pid):
            return
        if process.page is None and not (generation.has_room() and _make_page(process)):
            return
        process.waiting = True
        self._calls.order(
            pid,
            "count",
            partial(_answered, process),
            heard=partial(_heard, process, generation),
            attached=process.page,
        )

    def _reaches(self, pid: int) -> bool:
        try:
            return self._calls.reaches(pid)
        except OSError:
            return False  # Hidden, or /proc is unavailable.


def _add(process: _Process, totals: list[int]) -> None:
    if process.page:
        try:
            process.page.add_to(totals)
        except OSError:
            return  # It counts at the next look.


def _make_page(process: _Process) -> bool:
    try:
        process.page = CountedPage()
    except OSError:
        return False  # No descriptors or no memory left.
    return True


def _heard(process: _Process, generation: _Generation, answer: list[str]) -> None:
    """Take note of `count ADAPTER …`."""
    if any("!" not in adapter for adapter in answer[1:]):
        generation.counts = True
    else:
        process.close()


def _answered(process: _Process, error: str) -> None:
    process.waiting = False
    if error:
        process.close()
