"""What happens to the processes of a service: children that end, generations that are gone."""

from __future__ import annotations

import time

from sockact.core.lifecycle import events
from sockact.core.lifecycle.model import Gate, Phase
from sockact.core.message_kinds import News
from sockact.supervisor.base import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from sockact.core.lifecycle.model import Exit
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.base.retry import Retry
    from sockact.supervisor.gates.drain_census import DrainCensus
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.gates.revival import Revival
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls
    from sockact.supervisor.processes.termination import Termination
    from sockact.supervisor.service.announcer import Announcer
    from sockact.supervisor.service.callers import Callers
    from sockact.supervisor.service.lifecycle import Lifecycle
    from sockact.supervisor.service.reports import Reports

    class Parent(Protocol):
        """Something that starts processes of its own."""

        def reaped(self, pid: int, exit: Exit) -> None:
            """A child of the supervisor has ended: perhaps one of these."""


_GONE_AGAIN = 0.05


class GateFacts:
    """Tells the lifecycle of gates that have moved, or cannot be moved."""

    def __init__(self, lifecycle: Lifecycle, reports: Reports, revival: Revival) -> None:
        self._lifecycle = lifecycle
        self._reports = reports
        self._revival = revival

    def moved(self, number: int, gate: Gate, reason: str) -> None:
        """The order to move the gate of generation `number` has come to this end."""
        if gate is Gate.NONE:
            message = f"its gate cannot be moved: {reason}"
            self._reports.say(number, message, report.NOTICE, News.GATE)
        self._lifecycle.handle(events.GateMoved(number, gate, reason))
        service = self._lifecycle.service
        if service.phase is Phase.STOPPING and all(
            g.gate is Gate.CLOSED for g in service.generations
        ):
            # Nobody will accept any more: refuse new clients now, not at the very end.
            self._revival.shut_owned()


class ProcessFacts:
    """Reaps children, and tells everybody whose they were."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        loop: Loop,
        retry: Retry,
        processes: Processes,
        generations: Generations,
        gates: Gates,
        drains: DrainCensus,
        termination: Termination,
        revival: Revival,
        calls: ShimCalls,
        announcer: Announcer,
        callers: Callers,
        parents: tuple[Parent, ...],
    ) -> None:
        """`parents` are those, besides the generations, that start processes of their own."""
        self._lifecycle = lifecycle
        self._loop = loop
        self._retry = retry
        self._processes = processes
        self._generations = generations
        self._gates = gates
        self._drains = drains
        self._termination = termination
        self._revival = revival
        self._calls = calls
        self._announcer = announcer
        self._callers = callers
        self._parents = (generations, *parents)

    def reap(self) -> None:
        """SIGCHLD: collect every child that has ended."""
        reaped = False
        for pid, generation, exit in self._processes.reap():
            reaped = True
            self._calls.forget(pid, "the process has ended")
            for parent in self._parents:
                parent.reaped(pid, exit)
            if generation is not None:
                self._announcer.ended(pid)
                if found := self._generations.get(generation):
                    found.hear()
                self._lifecycle.handle(events.Exited(generation, exit))
        if reaped:
            self.look_for_gone()

    def look_for_gone(self) -> None:
        """Find the generations whose last process has ended, now or as soon as that can be told."""
        self._retry.attempt("gone", self._find_gone)

    def _find_gone(self) -> None:
        gone = self._processes.gone(self._generations)
        if gone is None:
            self._loop.at(time.monotonic() + _GONE_AGAIN, self.look_for_gone)
            return
        for number in sorted(gone):
            self._gates.forget(number)
            self._drains.forget(number)
            self._termination.forget(number)
            self._revival.look()
            self._lifecycle.handle(events.Gone(number, self._processes.failure(number)))
            # Not before: those who asked for the handover get the end of its stderr.
            self._generations.forget(number)
            self._callers.gone(number)
