"""Watches a pending generation until it waits for connections on every listener.

The kernel does not report that, so the processes are polled: often at first, less and less often
later, and soon after each bind() or listen().
"""

from __future__ import annotations

import time

from sockact.handover.census import count
from sockact.handover.interest import interest
from sockact.kernel.procfs import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.processes.processes import Processes

_FIRST = 0.005
_GROWTH = 1.5
_LONGEST = 0.1
_AFTER_CALL = 0.002
_SHARE = 0.1
"""Of one core, at the most, for looks at a program with very many descriptors."""
_BLIND_AFTER = 0.3
"""Seconds until a process that cannot be read is reported. Many are short-lived helpers."""


class InterestWatch:
    """Polls the processes of one pending generation."""

    def __init__(
        self,
        loop: Loop,
        generation: int,
        processes: Processes,
        listeners: list[Listener],
        ready: Callable[[], None],
        blind: Callable[[str], None],
    ) -> None:
        """`ready` is called when the generation waits for connections on every listener, `blind`
        with the reason when its processes cannot be read.
        """
        self._loop = loop
        self._generation = generation
        self._processes = processes
        self._listeners = listeners
        self._ready = ready
        self._blind = blind
        self._pause = _FIRST
        self._seen: set[int] = set()
        self._timer: Timer | None = None
        self._unreadable_since: float | None = None
        self._reported: set[int] = set()
        self._schedule(_FIRST)

    @property
    def seen(self) -> set[int]:
        """Return the inodes of the listeners on which a process has been seen waiting."""
        return self._seen

    def nudge(self) -> None:
        """Look soon: the program has just called bind() or listen()."""
        if self._timer:
            self._timer.cancel()
            self._reported.clear()  # The caller has just replaced the reason.
            self._pause = _FIRST
            self._schedule(_AFTER_CALL)

    def stop(self) -> None:
        """Look no more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, pause: float) -> None:
        self._timer = self._loop.at(time.monotonic() + pause, self._look)

    def _look(self) -> None:
        began = time.process_time()
        pids = self._processes.of(self._generation)
        inodes = {listener.inode for listener in self._listeners}
        try:
            found, unreadable = interest(pids, inodes)
        except Unavailable:
            self._schedule(_LONGEST)
            return
        self._seen |= found
        missing = [x for x in self._listeners if x.inode not in self._seen]
        if missing:
            self._seen |= self._accepted(pids, missing)
        if self._seen >= inodes:
            self._timer = None
            self._ready()
            return
        self._report(unreadable)
        self._pause = min(_LONGEST, self._pause * _GROWTH)
        self._schedule(max(self._pause, (time.process_time() - began) / _SHARE))

    def _report(self, unreadable: set[int]) -> None:
        """Report processes that cannot be read: perhaps they are ready, but it cannot be seen."""
        if not unreadable:
            self._unreadable_since = None
        elif self._unreadable_since is None:
            self._unreadable_since = time.monotonic()
        elif time.monotonic() - self._unreadable_since >= _BLIND_AFTER and not (
            self._seen or unreadable <= self._reported
        ):
            self._reported = unreadable
            pids = ", ".join(map(str, sorted(unreadable)))
            self._blind(f"cannot read process {pids}")

    def _accepted(self, pids: list[int], missing: list[Listener]) -> set[int]:
        """Return the listeners with a connection that the generation has accepted.

        A single-threaded server under load is hardly ever seen waiting.
        """
        found = set()
        for listener in missing:
            try:
                counts = count({self._generation: pids}, [listener])
            except OSError:
                continue  # There is no sock_diag. Only waiting counts then.
            if counts and counts[self._generation].total:
                found.add(listener.inode)
        return found
