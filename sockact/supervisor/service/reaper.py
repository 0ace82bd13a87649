"""Reaps children, and finds the generations whose last process has ended."""

from __future__ import annotations

import time

from sockact.core.lifecycle import events
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.base.retry import Retry
    from sockact.supervisor.gates.listener_watch import ListenerWatch
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls
    from sockact.supervisor.service.announcer import Announcer
    from sockact.supervisor.service.endings import Endings
    from sockact.supervisor.service.lifecycle import Lifecycle
    from sockact.supervisor.service.outcomes import Outcomes

_GONE_AGAIN = 0.05


@dataclass
class Reaper:
    """Reaps children and reports their end to whatever started them."""

    _lifecycle: Lifecycle
    _loop: Loop
    _retry: Retry
    _processes: Processes
    _generations: Generations
    _endings: Endings
    _listener_watch: ListenerWatch
    _calls: ShimCalls
    _announcer: Announcer
    _outcomes: Outcomes

    def reap(self) -> None:
        """Reap every child that has ended, after SIGCHLD."""
        reaped = False
        for pid, generation, exit in self._processes.reap():
            reaped = True
            # A child is reaped only once: whatever fails, the others hear of it.
            guard = self._loop.guard
            guard(self._calls.forget, pid, "the process has ended")
            self._loop.child_ended(pid, exit)
            if generation is not None:
                guard(self._announcer.ended, pid)
                if found := self._generations.get(generation):
                    guard(found.root_ended)
                self._lifecycle.handle(events.Exited(generation, exit))
        if reaped:
            self.look_for_gone()

    def look_for_gone(self) -> None:
        """Find the generations whose last process has ended, now or as soon as that is known."""
        self._retry.attempt("gone", self._find_gone)

    def _find_gone(self) -> None:
        gone = self._processes.gone(self._generations)
        if gone is None:
            self._loop.at(time.monotonic() + _GONE_AGAIN, self.look_for_gone)
            return
        for number in sorted(gone):
            guard = self._loop.guard
            self._endings.forget(number)
            guard(self._listener_watch.repair_after_end)
            self._lifecycle.handle(events.Gone(number, self._processes.failure(number)))
            # Not earlier: the callers of the handover get its last lines of stderr.
            guard(self._generations.forget, number)
            guard(self._outcomes.gone, number)
