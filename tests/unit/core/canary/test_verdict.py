"""Verdicts on canaries whose requests are simulated, and on single figures."""

from __future__ import annotations

from typing import Any

import pytest

from bench import verdict as bench
from bench.verdict import PARTS, end
from sockact.core.canary.evidence import Evidence, Wealth, begin, begin_step
from sockact.core.canary.sample import Pair, Sample, bucket
from sockact.core.canary.verdict import Unsure, Verdict, judge, when_unsure
from sockact.core.record import replace

SURE = Wealth((1e6,), 0.0, 1)


def histogram(counts: dict[float, int]) -> tuple[int, ...]:
    found = [0] * (1 + max(map(bucket, counts)))
    for seconds, count in counts.items():
        found[bucket(seconds)] += count
    return tuple(found)


def seen(baseline: Sample, canary: Sample, *sources: str) -> Evidence:
    """These counts since the beginning; the named sources are sure that the canary is worse."""
    sure: dict[str, Any] = dict.fromkeys(sources, SURE)
    return Evidence(Pair(), Pair(), Pair(), Pair(baseline, canary), **sure)


@pytest.mark.parametrize("name", ["fails2", "slower30", "slower30wide"])
def test_a_worse_canary_is_refused_before_it_has_seen_1000_requests(name: str) -> None:
    """It has a tenth of 20,000 requests; 1,000 of them are 5 % of all."""
    for seed in range(5):
        found = end(PARTS[name], seed)
        assert found.verdict is Verdict.WORSE
        assert found.requests < 1000


@pytest.mark.parametrize(("name", "enough"), [("half", 30), ("half50", 60)])
def test_few_requests_are_enough_to_see_that_half_of_them_fail(name: str, enough: int) -> None:
    """With half of the clients, the previous generation has had as few to compare with."""
    part = PARTS[name]
    for seed in range(50):
        watched = bench.watch(part, seed, round(10 * part.shares[0]))
        judgement = next(judgement for requests, judgement in watched if requests >= enough)
        assert judgement.verdict is Verdict.WORSE


@pytest.mark.parametrize(
    "name", ["equal", "steps", "failing", "outage", "clumped", "pausing", "slower2"]
)
def test_an_equal_canary_is_not_refused(name: str) -> None:
    """bench.verdict does this 200 times."""
    assert end(PARTS[name], 7).verdict is Verdict.BETTER_OR_SAME


def test_a_release_that_turns_bad_late_is_refused() -> None:
    found = end(PARTS["late"], 1)
    assert found.verdict is Verdict.WORSE
    assert 1000 < found.requests < 1500


def test_one_request_a_minute_is_not_enough() -> None:
    found = end(PARTS["minute"], 1)
    assert found.verdict is Verdict.NOT_ENOUGH
    assert found.reason == "the new generation has had 0 of 30 requests"


def test_a_baseline_without_requests_is_not_enough_either() -> None:
    judgement = judge(seen(Sample(5), Sample(500, 400), "failures"))
    assert judgement.verdict is Verdict.WORSE
    judgement = judge(seen(Sample(0), Sample(500, 400), "failures"))
    assert judgement.verdict is Verdict.NOT_ENOUGH
    assert str(judgement) == "the previous generation has had 0 of 30 requests"


SLOW_BEFORE = histogram({0.1: 3775, 1.0: 36})


@pytest.mark.parametrize(
    ("source", "baseline", "canary", "line"),
    [
        (
            *("failures", Sample(3811), Sample(412, 5, 4)),
            "2.2 % of 412 requests failed (before: 0.0 % of 3,811)",
        ),
        (
            *("failures", Sample(1_000_000, 30), Sample(10_000, 20)),
            "0.2 % of 10,000 requests failed (before: 0.003 % of 1,000,000)",
        ),
        (
            "durations",
            Sample(3811, durations=histogram({0.1: 3811})),
            Sample(412, durations=histogram({0.13: 412})),
            "median 132 ms instead of 102 ms (412 requests)",
        ),
        (
            "slow",
            Sample(3811, durations=SLOW_BEFORE),
            Sample(412, durations=histogram({0.1: 372, 9.0: 40})),
            "9.7 % of 412 requests took longer than 106 ms (before: 0.9 % of 3,811)",
        ),
        ("deaths", Sample(9, deaths=1), Sample(9, deaths=12), "12 workers died (before: 1)"),
        (
            *("lines", Sample(9, lines=2), Sample(9, lines=1200)),
            "1,200 lines on standard error (before: 2)",
        ),
        (
            *("queue", Sample(queue_age=0.0), Sample(queue_age=2.5)),
            "connections wait 2.5 s to be accepted (before: 0 ms)",
        ),
        (
            *("cpu", Sample(100, cpu=0.95), Sample(100, cpu=1.9)),
            "19 ms of CPU time per request instead of 9.5 ms",
        ),
        (
            "memory",
            Sample(memory=1 << 20, connections=16),
            Sample(memory=16 << 20, connections=8),
            "2,048 KiB of memory per connection instead of 64 KiB",
        ),
    ],
)
def test_reasons(source: str, baseline: Sample, canary: Sample, line: str) -> None:
    judgement = judge(seen(baseline, canary, source))
    assert judgement.verdict is Verdict.WORSE
    assert judgement.reasons == (line,)
    assert judge(seen(baseline, canary)).verdict is not Verdict.WORSE


@pytest.mark.parametrize(
    ("source", "baseline", "canary"),
    [
        # 2 % slower.
        (
            "durations",
            Sample(10**6, durations=histogram({0.1: 5 * 10**5, 0.11: 5 * 10**5})),
            Sample(10**6, durations=histogram({0.1: 4 * 10**5, 0.11: 6 * 10**5})),
        ),
        # The median jumps from one clump to the other.
        (
            "durations",
            Sample(10**6, durations=histogram({0.01: 505_000, 1.0: 495_000})),
            Sample(10**6, durations=histogram({0.01: 495_000, 1.0: 505_000})),
        ),
        ("failures", Sample(10**6, 100), Sample(10**6, 900)),
        ("failures", Sample(10**6, 10**5), Sample(10**6, 115_000)),
        # Four may be one client that tries the same again.
        ("failures", Sample(1000), Sample(40, 4)),
        ("slow", Sample(10**4, durations=(9900, 100)), Sample(10**4, durations=(9850, 150))),
        ("deaths", Sample(99, deaths=0), Sample(99, deaths=2)),
    ],
)
def test_a_difference_that_does_not_matter(source: str, baseline: Sample, canary: Sample) -> None:
    assert judge(seen(baseline, canary, source)).verdict is not Verdict.WORSE


def test_the_figures_of_the_step_or_of_the_whole_canary() -> None:
    """Before this step the previous generation failed a lot, and the canary not at all."""
    start = Pair(Sample(10_000, 2_000), Sample(100))
    found = begin_step(begin(Pair()), start)
    now = Pair(Sample(11_000, 2_000), Sample(1_100, 50))
    found = replace(found, last=now, failures=SURE)
    judgement = judge(found)
    assert str(judgement) == "5.0 % of 1,000 requests failed (before: 0.0 % of 1,000)"


def test_several_reasons() -> None:
    slow = Sample(1000, 500, durations=histogram({0.5: 1000}))
    usual = Sample(1000, durations=histogram({0.1: 1000}))
    judgement = judge(seen(usual, slow, "failures", "durations"))
    assert [reason.split()[0] for reason in judgement.reasons] == ["50.0", "median"]


def test_a_canary_that_is_as_good_says_so_with_figures() -> None:
    usual = Sample(3811, 4, durations=histogram({0.1: 3811}))
    judgement = judge(seen(usual, Sample(412, durations=histogram({0.1: 412}))))
    assert judgement.verdict is Verdict.BETTER_OR_SAME
    assert str(judgement) == (
        "0.0 % of 412 requests failed (before: 0.1 % of 3,811); median 102 ms instead of 102 ms"
    )


@pytest.mark.parametrize(
    ("unsure", "waited", "choice"),
    [
        (Unsure.WAIT, 0.0, Unsure.WAIT),
        (Unsure.WAIT, 59.9, Unsure.WAIT),
        (Unsure.WAIT, 60.0, Unsure.ROLLBACK),
        (Unsure.PROMOTE, 0.0, Unsure.PROMOTE),
        (Unsure.ROLLBACK, 0.0, Unsure.ROLLBACK),
    ],
)
def test_without_a_verdict(unsure: Unsure, waited: float, choice: Unsure) -> None:
    assert when_unsure(unsure, waited, 60.0) is choice
