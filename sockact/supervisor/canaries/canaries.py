"""Compares the generations of a canary for as long as it is under way: docs/canary-statistics.md.

What follows from a verdict is decided by core/lifecycle/canary.py.
"""

from __future__ import annotations

import time

from sockact.core.canary import evidence, judges
from sockact.core.canary.schedule import WHOLE
from sockact.core.canary.verdict import NOT_COUNTED, judge
from sockact.core.lifecycle.events import Judged
from sockact.core.message_kinds import News
from sockact.core.record import dataclass
from sockact.supervisor.base import report
from sockact.supervisor.canaries.judge_runs import Asking, JudgeRuns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sockact.core.canary.evidence import Evidence
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Service
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.base.report import Say
    from sockact.supervisor.canaries.sources import Sources

_EVERY = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True)
class _Step:
    """A step of a canary, while both generations live and the canary gets clients."""

    handover: int
    baseline: int
    canary: int
    judges: tuple[str, ...]
    share: int
    since: float


class Canaries:
    """Compares generations while a canary is under way, and does nothing otherwise."""

    def __init__(
        self,
        loop: Loop,
        service: Callable[[], Service],
        handle: Callable[[Event], None],
        sources: Sources,
        version_of: Callable[[int], str],
        environment: Mapping[str, str],
        say: Say,
    ) -> None:
        """`environment` is that of judges."""
        self._loop = loop
        self._service = service
        self._handle = handle
        self._sources = sources
        self._version_of = version_of
        self._environment = environment
        self._say = say
        self._step: _Step | None = None
        self._evidence: Evidence | None = None
        self._most = 0
        """The greatest share that the canary has had, in thousandths."""
        self._judges: JudgeRuns | None = None
        self._timer: Timer | None = None

    def follow(self) -> None:
        """Begin, continue or stop, as the state of the service says."""
        before, step = self._step, _step_of(self._service())
        if step == before:
            return
        self._step = step
        goes_on = step and before and step.handover == before.handover
        if before and not goes_on:
            self._stop()
        if self._service().canary is None:
            self._evidence, self._most = None, 0
        if step:
            self._most = max(self._most, step.share)
            self._begin_step() if goes_on else self._begin(step)
            self._decide()

    def busy(self) -> str:
        """Return what has to end before an upgrade; "" if nothing has to."""
        return "a judge is being asked" if self._judges and self._judges.busy() else ""

    def carried(self) -> Evidence | None:
        """Return the evidence for the version that takes over."""
        return self._evidence

    def take_over(self, carried: Evidence | None) -> None:
        """Continue with the evidence of the previous version. Call `follow` next."""
        self._evidence = carried

    def close(self) -> None:
        """Stop counting and asking."""
        self._stop()

    def _begin(self, step: _Step) -> None:
        """Begin to compare, or again: after an upgrade, or when the canary had no clients."""
        before = self._evidence
        now, counted = self._sources.begin(step.baseline, step.canary, is_new=before is None)
        if before is None:
            self._evidence = evidence.begin(now, counted)
        else:
            self._evidence = evidence.rebase(before, now, counted)
        if before is None and not counted:
            self._note(step.canary, str(NOT_COUNTED))
        self._timer = self._loop.at(time.monotonic() + _EVERY, self._look)
        if step.judges:
            self._judges = JudgeRuns(self._loop, step.judges, self._asking(step))
            self._judges.begin_step()

    def _asking(self, step: _Step) -> Asking:
        values = {
            "generation": str(step.canary),
            "version": self._version_of(step.canary),
            "baseline": str(step.baseline),
            "baseline_version": self._version_of(step.baseline),
        }
        return Asking(
            values, self._environment, self._decide, lambda text: self._note(step.canary, text)
        )

    def _begin_step(self) -> None:
        found = self._sources.look()
        if found and self._evidence:
            self._evidence = evidence.begin_step(self._evidence, found[0])
        if self._judges:
            self._judges.begin_step()

    def _look(self) -> None:
        self._timer = self._loop.at(time.monotonic() + _EVERY, self._look)
        found = self._sources.look()
        if found and self._evidence:
            share = None if found[1] else self._most / WHOLE
            self._evidence = evidence.observe(self._evidence, found[0], share)
        self._decide()

    def _decide(self) -> None:
        """Pass on the verdict, if it has changed."""
        canary, step = self._service().canary, self._step
        if canary is None or step is None or self._evidence is None:
            return
        found = judges.combine(judge(self._evidence), self._judges.said() if self._judges else [])
        if found != canary.judgement:
            self._handle(Judged(step.canary, found))

    def _note(self, number: int, text: str) -> None:
        self._say(number, f"canary: {text}", report.NOTICE, News.CANARY)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._judges:
            self._judges.stop()
            self._judges = None
        self._sources.end()


def _step_of(service: Service) -> _Step | None:
    canary, handover, baseline = service.canary, service.handover, service.predecessor
    g = service.get(handover.successor) if handover else None
    if canary is None or handover is None or g is None or baseline is None:
        return None
    now = canary.progress
    if g.exit or baseline.exit or not now.share:
        return None
    judges = canary.plan.judges
    return _Step(handover.id, baseline.number, g.number, judges, now.share, now.since)
