"""A canary that is looked at once a second: what its lifecycle hears, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from sockact.core.canary import schedule
from sockact.core.canary.progress import Plan
from sockact.core.canary.sample import Pair, Sample
from sockact.core.canary.verdict import NOT_COUNTED, Unsure
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.actions import Report
from sockact.core.lifecycle.machine import step
from sockact.core.lifecycle.model import Outcome, Policy, Ready, Service
from sockact.supervisor.canaries.canaries import Canaries

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.lifecycle.events import Event
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.canaries.sources import Sources

NONE = Sample()
FEW = "the new generation has had 0 of 30 requests"


class FakeTimer:
    """A timer, which the story makes due."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeSources:
    """Counts what it is told to."""

    def __init__(self) -> None:
        self.began: list[tuple[int, int, bool]] = []
        self.counts = False
        self.counted = True
        self.now = Pair()

    def begin(self, baseline: int, canary: int, *, is_new: bool) -> tuple[Pair, bool]:
        self.began.append((baseline, canary, is_new))
        self.counts = True
        return self.now, self.counted

    def look(self) -> tuple[Pair, bool] | None:
        return (self.now, self.counted) if self.counts else None

    def end(self) -> None:
        self.counts = False

    def more(self, baseline: Sample, canary: Sample) -> None:
        """Count this in addition."""
        self.now = Pair(_sum(self.now.baseline, baseline), _sum(self.now.canary, canary))


def _sum(one: Sample, other: Sample) -> Sample:
    return Sample(requests=one.requests + other.requests, errors=one.errors + other.errors)


class Story:
    """A service with a canary, its clock, and what is said."""

    def __init__(self, steps: str = "10% 1min, 50% 1min", unsure: Unsure = Unsure.WAIT) -> None:
        plan = Plan(schedule.parse(steps), unsure, timeout=100.0)
        self.service = Service(Policy(ready=Ready.PROBE, plan=plan))
        self.now = 0.0
        self.said: list[str] = []
        self.sources = FakeSources()
        self.timers: list[FakeTimer] = []
        self.canaries = self.made()

    def made(self) -> Canaries:
        return Canaries(
            cast("Loop", self),
            lambda: self.service,
            self.handle,
            cast("Sources", self.sources),
            str,
            {},
            lambda _number, message, *_level: self.said.append(message),
        )

    def at(self, _when: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(FakeTimer(callback))
        return cast("Timer", self.timers[-1])

    def handle(self, event: Event) -> None:
        self.service, actions = step(self.service, event, self.now)
        self.said += [one.message for one in actions if isinstance(one, Report)]
        self.canaries.follow()

    def begin(self) -> None:
        for event in (on.Start(), on.Proven(1), on.Reload(), on.Proven(2)):
            self.handle(event)

    def pass_(self, seconds: int, baseline: Sample = NONE, canary: Sample = NONE) -> None:
        """Let time pass, with these requests in each second."""
        for _ in range(seconds):
            self.now += 1.0
            self.sources.more(baseline, canary)
            due, self.timers = self.timers, []
            for timer in due:
                if timer.callback:
                    timer.callback()
            self.handle(on.Tick())

    @property
    def looks(self) -> bool:
        return any(timer.callback for timer in self.timers)

    @property
    def outcome(self) -> tuple[Outcome, str]:
        assert self.service.handover
        return self.service.handover.outcome, self.service.handover.reason

    @property
    def verdict(self) -> str:
        assert self.service.canary
        return self.service.canary.judgement.verdict.value


def test_nothing_is_looked_at_without_a_canary() -> None:
    story = Story()
    for event in (on.Start(), on.Proven(1), on.Reload()):
        story.handle(event)
        assert not story.timers
    assert story.sources.began == []


def test_a_worse_canary_is_refused_with_figures() -> None:
    story = Story()
    story.begin()
    assert story.sources.began == [(1, 2, True)]
    story.pass_(10, Sample(requests=100), Sample(requests=10, errors=5))
    outcome, reason = story.outcome
    assert outcome is Outcome.FAILED
    assert reason == (
        "canary refused: worse than the previous generation: 50.0 % of 10 requests failed "
        "(before: 0.0 % of 100)"
    )
    assert not story.looks
    assert not story.sources.counts


def test_a_good_canary_goes_on_step_by_step() -> None:
    story = Story()
    story.begin()
    assert story.verdict == "not-enough"
    story.pass_(59, Sample(requests=100), Sample(requests=10))
    assert story.verdict == "better-or-same"
    story.pass_(1, Sample(requests=100), Sample(requests=10))
    assert story.said[-1] == "canary: gets 50% of the new clients"
    # The step that begins has to be seen anew.
    assert story.verdict == "not-enough"
    story.pass_(60, Sample(requests=50), Sample(requests=50))
    assert story.outcome == (Outcome.COMMITTED, "")
    assert not story.looks


@pytest.mark.parametrize("unsure", Unsure)
def test_too_few_requests(unsure: Unsure) -> None:
    story = Story(unsure=unsure)
    story.begin()
    story.pass_(60, Sample(requests=100))
    if unsure is Unsure.PROMOTE:
        story.pass_(60, Sample(requests=100))
        assert story.outcome == (Outcome.COMMITTED, "")
        return
    if unsure is Unsure.WAIT:
        assert story.outcome[0] is Outcome.PENDING
        story.pass_(100, Sample(requests=100))
    assert story.outcome == (
        Outcome.FAILED,
        f"canary refused: not enough seen at 10%: {FEW}",
    )


def test_requests_that_come_late_end_the_wait() -> None:
    story = Story()
    story.begin()
    story.pass_(80, Sample(requests=100))
    story.pass_(4, Sample(requests=100), Sample(requests=10))
    assert story.said[-1] == "canary: gets 50% of the new clients"


def test_without_counts_the_steps_end_by_their_time() -> None:
    story = Story()
    story.sources.counted = False
    story.begin()
    story.pass_(120)
    assert story.outcome == (Outcome.COMMITTED, "")
    assert story.said.count(f"canary: {NOT_COUNTED}") == 1


def test_a_share_of_nothing_is_not_looked_at() -> None:
    story = Story()
    story.begin()
    story.pass_(5, Sample(requests=100), Sample(requests=10))
    story.handle(on.Share(0))
    assert not story.looks
    assert not story.sources.counts
    story.handle(on.Share(100))
    assert story.sources.began == [(1, 2, True), (1, 2, False)]
    story.pass_(5, Sample(requests=100), Sample(requests=10))
    assert story.verdict == "better-or-same"


def test_the_next_version_continues_with_what_was_won() -> None:
    story = Story()
    story.begin()
    story.pass_(1, Sample(requests=100), Sample(requests=8, errors=4))
    won = story.canaries.carried()
    assert won is not None
    assert won.failures.total > 10
    story.canaries, before = story.made(), story.canaries
    before.close()
    story.canaries.take_over(won)
    story.sources.now = Pair()  # The counters begin anew.
    story.canaries.follow()
    carried = story.canaries.carried()
    assert carried is not None
    assert carried.failures == won.failures
    assert story.sources.began[-1] == (1, 2, False)
    story.handle(on.Promote())
    assert story.canaries.carried() is None
