"""The verdict on a canary: is it worse than the previous generation under the same load?

A canary is worse if one source of evidence has become so strong that an equal release would give as
much in at most its part of 1 % of all canaries (evidence.py), *and* the figures of this step, or of
the whole canary, show by themselves a difference that matters. So the line that the operator reads
can be checked with any statistics program, and a difference that is certain but irrelevant does not
stop a release.
"""

from __future__ import annotations

from enum import Enum

from sockact.core.canary.evidence import (
    CPU_TIMES,
    LINES_TIMES,
    MEMORY_TIMES,
    SLOW,
    SLOW_BASIS,
    comparable,
    waits_longer,
)
from sockact.core.canary.sample import edge
from sockact.core.canary.statistics import fisher, mann_whitney, median, percentile
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.canary.evidence import Evidence
    from sockact.core.canary.sample import Pair

FALSE_ALARMS = 0.01
"""Greatest probability that a release that is equal to the previous one is ever found worse."""
ENOUGH = 30
"""Requests that each generation must have had in a step. Among 30 requests, a canary that fails one
in seven shows a failure with a probability of 99 %."""
FEWEST_FAILURES = 5
"""Failed requests of the canary: one client may repeat one bad request."""
MORE_FAILURES = 0.001
"""Difference of the rates of failure that matters, and below it as a ratio."""
TIMES_FAILURES = 1.2
TIMES_MEDIAN = 1.1
"""Ratio of the medians of the durations that matters."""
SUPERIORITY = 0.53
"""Probability that a request of the canary takes longer than one of the baseline. A median between
two clumps of durations may jump although only a few requests have changed."""
MORE_SLOW = 0.01
"""Difference of the shares of slow requests that matters, and below it as a ratio."""
TIMES_SLOW = 2.0
FEWEST_DEATHS = 3


class Verdict(Enum):
    """Whether a canary is worse than the generation before it."""

    BETTER_OR_SAME = "better-or-same"
    WORSE = "worse"
    NOT_ENOUGH = "not-enough"
    PENDING = "pending"
    """A judge has not answered yet."""
    NOT_COUNTED = "not-counted"
    """Requests are not counted, and nobody else says whether it is."""


class Unsure(Enum):
    """What is done at the end of a step in which not enough has been seen."""

    WAIT = "wait"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the figures that it is based on."""

    verdict: Verdict
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(self.reasons)


NOTHING_SEEN = Judgement(Verdict.NOT_ENOUGH, ("no data yet",))

NOT_COUNTED = Judgement(
    Verdict.NOT_COUNTED,
    ("requests are not counted; only crashes, the accept queue and standard error can refuse it",),
)


def judge(evidence: Evidence) -> Judgement:
    """The verdict on what has been seen until the last look."""
    step = evidence.last.since(evidence.step)
    worse = []
    for name, (part, finding) in _SOURCES.items():
        if getattr(evidence, name).total * FALSE_ALARMS * part >= 1:
            worse.append(finding(step) or finding(evidence.last.since(evidence.first)))
    if any(worse):
        return Judgement(Verdict.WORSE, tuple(filter(None, worse)))
    if not evidence.counted:
        return NOT_COUNTED
    if step.least < ENOUGH:
        fewer = "new" if step.canary.requests <= step.baseline.requests else "previous"
        reason = f"the {fewer} generation has had {_count(step.least)} of {ENOUGH} requests"
        return Judgement(Verdict.NOT_ENOUGH, (reason,))
    return Judgement(Verdict.BETTER_OR_SAME, _summary(step))


def when_unsure(unsure: Unsure, waited: float, timeout: float) -> Unsure:
    """What to do at the end of a step without a verdict: WAIT becomes ROLLBACK after `timeout`.

    `waited`: seconds since the time of the step was over.
    """
    return Unsure.ROLLBACK if unsure is Unsure.WAIT and waited >= timeout else unsure


def _failures(seen: Pair) -> str:
    canary, baseline = seen.canary, seen.baseline
    failed, before = canary.failures, baseline.failures
    if failed < FEWEST_FAILURES or not baseline.requests:
        return ""
    rate, usual = failed / canary.requests, before / baseline.requests
    if rate < max(usual + MORE_FAILURES, TIMES_FAILURES * usual):
        return ""
    if fisher(failed, canary.requests, before, baseline.requests) > FALSE_ALARMS:
        return ""
    return _failure_rates(seen)


def _durations(seen: Pair) -> str:
    canary, baseline = seen.canary.durations, seen.baseline.durations
    ranks = mann_whitney(canary, baseline)
    if ranks is None or ranks.superiority < SUPERIORITY or ranks.p > FALSE_ALARMS:
        return ""
    if median(canary) < TIMES_MEDIAN * median(baseline):
        return ""
    return f"{_medians(seen)} ({_requests(sum(canary))})"


def _slow(seen: Pair) -> str:
    canary, baseline = seen.canary.durations, seen.baseline.durations
    if sum(baseline) < SLOW_BASIS or not any(canary):
        return ""
    limit = percentile(baseline, SLOW) + 1
    slow, before = sum(canary[limit:]), sum(baseline[limit:])
    rate, usual = slow / sum(canary), before / sum(baseline)
    if slow < FEWEST_FAILURES or rate < max(usual + MORE_SLOW, TIMES_SLOW * usual):
        return ""
    if fisher(slow, sum(canary), before, sum(baseline)) > FALSE_ALARMS:
        return ""
    share = f"{_percent(rate)} of {_requests(sum(canary))} took longer than {_time(edge(limit))}"
    return f"{share} (before: {_percent(usual)} of {_count(sum(baseline))})"


def _deaths(seen: Pair) -> str:
    deaths, before = seen.canary.deaths, seen.baseline.deaths
    if deaths < FEWEST_DEATHS or deaths <= before:
        return ""
    return f"{_count(deaths)} workers died (before: {_count(before)})"


def _lines(seen: Pair) -> str:
    lines, before = seen.canary.lines, seen.baseline.lines
    if lines <= LINES_TIMES * before:
        return ""
    return f"{_count(lines)} lines on standard error (before: {_count(before)})"


def _queue(seen: Pair) -> str:
    age, usual = seen.canary.queue_age, seen.baseline.queue_age
    if age is None or usual is None or not waits_longer(age, usual):
        return ""
    return f"connections wait {_time(age)} to be accepted (before: {_time(usual)})"


def _cpu(seen: Pair) -> str:
    canary, baseline = seen.canary, seen.baseline
    if not comparable(canary.requests, baseline.requests):
        return ""
    cost, usual = canary.cpu / canary.requests, baseline.cpu / baseline.requests
    if cost <= CPU_TIMES * usual:
        return ""
    return f"{_time(cost)} of CPU time per request instead of {_time(usual)}"


def _memory(seen: Pair) -> str:
    canary, baseline = seen.canary, seen.baseline
    if not comparable(canary.connections, baseline.connections):
        return ""
    size = (canary.memory or 0) / canary.connections
    usual = (baseline.memory or 0) / baseline.connections
    if size <= MEMORY_TIMES * usual:
        return ""
    sizes = f"{size / 1024:,.0f} KiB", f"{usual / 1024:,.0f} KiB"
    return f"{sizes[0]} of memory per connection instead of {sizes[1]}"


_SOURCES: dict[str, tuple[float, Callable[[Pair], str]]] = {
    "failures": (0.5, _failures),
    "durations": (0.2, _durations),
    "slow": (0.05, _slow),
    "deaths": (0.05, _deaths),
    "lines": (0.05, _lines),
    "queue": (0.05, _queue),
    "cpu": (0.05, _cpu),
    "memory": (0.05, _memory),
}
"""By the name of the wealth: the part of FALSE_ALARMS, and what shows that a difference matters."""


def _summary(seen: Pair) -> tuple[str, ...]:
    medians = seen.canary.durations and seen.baseline.durations
    return (_failure_rates(seen), *([_medians(seen)] if medians else []))


def _failure_rates(seen: Pair) -> str:
    canary, baseline = seen.canary, seen.baseline
    rates = canary.failures / canary.requests, baseline.failures / baseline.requests
    return (
        f"{_percent(rates[0])} of {_requests(canary.requests)} failed "
        f"(before: {_percent(rates[1])} of {_count(baseline.requests)})"
    )


def _medians(seen: Pair) -> str:
    now, before = median(seen.canary.durations), median(seen.baseline.durations)
    return f"median {_time(now)} instead of {_time(before)}"


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{_count(count)} requests"


def _count(count: int) -> str:
    return f"{count:,}"


def _percent(share: float) -> str:
    """With one decimal; a share below 0.1 % with as many as it needs."""
    return f"{100 * share:.1f} %" if share == 0 or share >= 0.001 else f"{100 * share:.1g} %"


def _time(seconds: float) -> str:
    """With two significant digits, all of them from 10 on: 0.25 ms, 9.5 ms, 130 ms, 1.3 s."""
    number, unit = (seconds, "s") if seconds >= 1 else (1000 * seconds, "ms")
    return f"{number:.0f} {unit}" if number >= 10 else f"{number:.2g} {unit}"
