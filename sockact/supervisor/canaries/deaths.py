"""Counts the workers that die: those that are killed by a signal, or exit with a failure.

A worker is a process of a generation other than its first one. As a rule its parent reaps it, not
the supervisor; a pidfd then still tells how it ended (Linux 6.15). Before, only orphans count,
which the supervisor reaps itself. A worker that lives for less than a second may be missed.
"""

from __future__ import annotations

import os
from functools import partial

from sockact.kernel import pidfd
from sockact.supervisor.processes.processes import exit_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sockact.core.lifecycle.model import Exit
    from sockact.supervisor.base.loop import Loop

_MOST = 256
"""Workers that are known at the same time."""
_LOOKS = 5
"""Looks after which a worker that is gone, and of which nothing is known, is forgotten."""


class _Worker:
    """A worker, or what is left of one."""

    def __init__(self, generation: int, fd: int) -> None:
        self.generation = generation
        self.fd = fd
        self.looks_left = _LOOKS


class Deaths:
    """Counts the deaths of workers by generation."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._known: dict[int, _Worker] = {}
        self._counts: dict[int, int] = {}

    def of(self, generation: int) -> int:
        """Return how many workers of this generation have died."""
        return self._counts.get(generation, 0)

    def look(self, workers: Mapping[int, Sequence[int]]) -> None:
        """Take note of the living workers of each generation, and of those that are gone."""
        living = {pid for pids in workers.values() for pid in pids}
        for pid in [*self._known]:
            if pid not in living:
                self._missing(pid)
        for generation, pids in workers.items():
            for pid in pids:
                if pid not in self._known and len(self._known) < _MOST:
                    self._meet(pid, generation)

    def close(self) -> None:
        """Watch no process any more."""
        for pid in [*self._known]:
            self._forget(pid)

    def _meet(self, pid: int, generation: int) -> None:
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return  # It is gone, or no descriptor is left.
        self._known[pid] = _Worker(generation, fd)
        self._loop.watch_child(pid, partial(self._ended, pid))

    def _missing(self, pid: int) -> None:
        worker = self._known[pid]
        worker.looks_left -= 1
        if (status := pidfd.wait_status(worker.fd)) is not None:
            self._ended(pid, exit_of(status))
        elif not worker.looks_left:
            self._forget(pid)

    def _ended(self, pid: int, exit: Exit) -> None:
        generation = self._known[pid].generation
        self._forget(pid)
        if not exit.clean:
            self._counts[generation] = self.of(generation) + 1

    def _forget(self, pid: int) -> None:
        os.close(self._known.pop(pid).fd)
        self._loop.unwatch_child(pid)
