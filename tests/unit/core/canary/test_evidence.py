"""Wealth that is put on a canary being worse: what it can reach, and what moves it."""

from __future__ import annotations

import json
import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockact.core.canary import statistics
from sockact.core.canary.evidence import Evidence, Wealth, begin, begin_step, observe, rebase
from sockact.core.canary.sample import Pair, Sample
from sockact.core.canary.verdict import NOT_COUNTED, Verdict, judge
from sockact.core.json_data import Reader, plain

READER = Reader(Evidence, Wealth, Pair, Sample)
RICH = 1000.0


def pair(baseline: Sample, new: Sample) -> Pair:
    return Pair(baseline, new)


def ways(mine: int, others: int, failing: int, failed: int) -> int:
    return math.comb(mine, failed) * math.comb(others, failing - failed)


@pytest.mark.parametrize("exact", [0, 100])
@given(st.integers(1, 12), st.integers(1, 30), st.data())
def test_a_bet_on_rates_gains_nothing_on_average(
    exact: int, mine: int, others: int, data: st.DataObject
) -> None:
    failing = data.draw(st.integers(0, mine + others))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "MOST_EXACT", exact)
        mean = sum(
            ways(mine, others, failing, failed)
            / math.comb(mine + others, failing)
            * Wealth().bet_on_rates(failed, mine, failing - failed, others).total
            for failed in range(min(mine, failing) + 1)
        )
    assert mean == pytest.approx(1) if exact else mean <= 1 + 1e-9


@given(st.integers(1, 30), st.floats(0.5, 1.0))
def test_a_bet_on_events_gains_nothing_on_average(events: int, share: float) -> None:
    mean = sum(
        math.comb(events, mine)
        * share**mine
        * (1 - share) ** (events - mine)
        * Wealth().bet_on_events(mine, events - mine, share).total
        for mine in range(events + 1)
    )
    assert mean == pytest.approx(1)


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=4))
def test_a_bet_on_a_difference_gains_nothing_on_average(differences: list[float]) -> None:
    """Every order of signs is as likely as any other."""
    results = []
    for signs in product((1, -1), repeat=len(differences)):
        wealth = Wealth()
        for sign, difference in zip(signs, differences, strict=True):
            wealth = wealth.bet_on_difference(sign * difference)
        results.append(wealth.total)
    assert sum(results) / len(results) == pytest.approx(1)
    assert min(results) > 0


def test_wealth_stays_finite() -> None:
    wealth = Wealth()
    for _ in range(1000):
        wealth = wealth.bet_on_rates(1000, 1000, 0, 10**6)
    assert math.isfinite(wealth.total)
    for _ in range(1000):
        wealth = wealth.bet_on_rates(0, 10**5, 10**5, 10**5)
    assert 0 < wealth.total < 1


def test_nothing_is_learned_where_one_generation_has_no_requests() -> None:
    assert Wealth().bet_on_rates(5, 10, 0, 0) == Wealth().bet_on_rates(0, 0, 5, 10) == Wealth()


def test_a_late_change_is_found_although_all_bets_were_lost() -> None:
    wealth = Wealth()
    for _ in range(2000):
        wealth = wealth.bet_on_rates(1, 10, 9, 90)
    poor = wealth.total
    for _ in range(20):
        wealth = wealth.bet_on_rates(5, 10, 9, 90)
    assert poor < 1e-3
    assert wealth.total > RICH


def grown(looks: int, baseline: Sample, new: Sample) -> Evidence:
    """After so many looks, each of which found these further counts."""
    found = begin(Pair())
    for number in range(1, looks + 1):
        found = observe(found, pair(times(baseline, number), times(new, number)))
    return found


def times(one: Sample, number: int) -> Sample:
    """This much again, `number` times; gauges stay."""
    return Sample(
        number * one.requests,
        number * one.errors,
        number * one.resets,
        tuple(number * count for count in one.durations),
        number * one.deaths,
        number * one.lines,
        number * one.cpu,
        one.queue_age,
        one.memory,
        one.connections,
    )


USUAL = Sample(20, 1, 0, (0, 10, 10), lines=1, cpu=0.2, queue_age=0.0, memory=1000, connections=10)
SOURCES = ("failures", "durations", "slow", "deaths", "lines", "queue", "cpu", "memory")


@pytest.mark.parametrize(
    ("source", "new"),
    [
        ("failures", Sample(20, 5)),
        ("failures", Sample(20, resets=5)),
        ("durations", Sample(20, 1, durations=(0, 0, 20))),
        ("slow", Sample(20, 1, durations=(0, 9, 9, 0, 2))),
        ("deaths", Sample(20, 1, deaths=2)),
        ("lines", Sample(20, 1, lines=3)),
        ("cpu", Sample(20, 1, cpu=0.4)),
        ("queue", Sample(20, 1, queue_age=0.5)),
        ("memory", Sample(20, 1, memory=2500, connections=10)),
    ],
)
def test_each_source_grows_by_what_it_watches(source: str, new: Sample) -> None:
    found = grown(200, USUAL, new)
    rich = [name for name in SOURCES if getattr(found, name).total > RICH]
    assert source in rich
    assert set(rich) <= {source, "durations"}


def test_equal_generations_give_no_evidence() -> None:
    found = grown(200, USUAL, USUAL)
    assert all(getattr(found, name).total < 2 for name in SOURCES)


def test_deaths_and_a_full_queue_count_without_any_request() -> None:
    found = grown(200, Sample(20, queue_age=0.0), Sample(0, deaths=1, queue_age=9.0))
    assert found.deaths.total > RICH
    assert found.queue.total > RICH
    assert found.failures.rounds == 0


def test_a_program_that_is_nearly_idle_may_cost_more_per_request() -> None:
    few = Sample(6, cpu=0.2, memory=1000, connections=2, durations=(0, 3, 3))
    found = grown(200, USUAL, few)
    assert found.cpu == found.memory == Wealth()


def test_few_requests_are_put_together_to_a_round() -> None:
    found = grown(9, Sample(9), Sample(1))
    assert found.failures.rounds == 1
    assert found.last.canary.requests == 5


def test_an_outage_of_both_is_no_evidence_when_the_share_has_grown() -> None:
    """The canary had a small share before the outage, and a large one in it."""
    before, during = (Sample(990), Sample(10)), (Sample(500, 250), Sample(500, 250))
    found = grown(100, *before)
    start = found.last
    found = begin_step(found, start)
    for number in range(1, 11):
        added = Pair(times(during[0], number), times(during[1], number))
        now = Pair(
            Sample(start.baseline.requests + added.baseline.requests, added.baseline.errors),
            Sample(start.canary.requests + added.canary.requests, added.canary.errors),
        )
        found = observe(found, now)
    rates = [one.failures / one.requests for one in (found.last.canary, found.last.baseline)]
    assert rates[0] > 10 * rates[1]
    assert found.failures.total < 1


def test_a_step_begins_without_the_unfinished_round() -> None:
    now = pair(Sample(100), Sample(3, 3))
    found = begin_step(observe(begin(Pair()), now), now)
    assert found.failures == Wealth()
    assert found.last == found.step == found.block == now
    assert found.first == Pair()


def test_evidence_is_carried_as_json() -> None:
    found = grown(50, USUAL, Sample(20, 5, durations=(0, 1, 1), deaths=1, lines=1))
    assert READER.read(Evidence, json.loads(json.dumps(plain(found), allow_nan=False))) == found


def test_counters_that_go_back_count_nothing() -> None:
    found = Sample(10, 1, durations=(1, 2), cpu=1.0).since(Sample(20, 2, durations=(5, 1, 7)))
    assert found == Sample(0, 0, durations=(0, 1), cpu=1.0)


BEFORE = Sample(queue_age=0.0, lines=7, deaths=1)


def look(evidence: Evidence, new: Sample, share: float, times: int = 1) -> Evidence:
    for _ in range(times):
        evidence = observe(evidence, pair(BEFORE, new), share)
    return evidence


@pytest.mark.parametrize(
    ("share", "new", "reason"),
    [
        (0.5, Sample(queue_age=3.0), "connections wait 3 s to be accepted (before: 0 ms)"),
        (0.5, Sample(deaths=13), "13 workers died (before: 0)"),
        (0.9, Sample(deaths=200), "200 workers died (before: 0)"),
    ],
)
def test_what_comes_with_time_counts_without_requests(
    share: float, new: Sample, reason: str
) -> None:
    evidence = begin(pair(BEFORE, Sample(queue_age=0.0)), counted=False)
    evidence = look(evidence, Sample(queue_age=0.0), share, 5)
    assert judge(evidence) == NOT_COUNTED
    found = judge(look(evidence, new, share, 75))
    assert (found.verdict, found.reasons) == (Verdict.WORSE, (reason,))


@pytest.mark.parametrize(("share", "verdict"), [(0.5, "worse"), (0.6, "not-counted")])
def test_lines_count_while_the_canary_has_no_more_clients(share: float, verdict: str) -> None:
    evidence = begin(pair(BEFORE, Sample()), counted=False)
    for lines in range(75):
        evidence = look(evidence, Sample(lines=lines, queue_age=0.0), share)
    assert judge(evidence).verdict.value == verdict


def test_few_deaths_are_no_evidence_for_a_canary_with_most_clients() -> None:
    evidence = look(begin(pair(BEFORE, Sample()), counted=False), Sample(deaths=13), 0.9)
    assert judge(evidence) == NOT_COUNTED


def test_requests_that_are_counted_from_now_on_are_compared_from_now_on() -> None:
    evidence = look(begin(pair(BEFORE, Sample()), counted=False), Sample(), 0.5, 3)
    many = Sample(requests=10**6, errors=10**5)
    evidence = observe(evidence, pair(BEFORE, many))
    assert evidence.counted
    assert judge(evidence).verdict is Verdict.NOT_ENOUGH
    evidence = observe(evidence, pair(BEFORE, many))
    assert evidence.last.since(evidence.first).canary.requests == 0


def test_what_was_won_stays_when_counters_begin_anew() -> None:
    evidence = look(begin(pair(BEFORE, Sample()), counted=False), Sample(deaths=9), 0.5)
    again = rebase(evidence, pair(BEFORE, Sample()), counted=False)
    assert again.deaths == evidence.deaths
    assert again.deaths.total > 100
    assert again.last.since(again.first) == pair(BEFORE, Sample()).since(pair(BEFORE, Sample()))
    data = json.loads(json.dumps(plain(again)))
    assert READER.read(Evidence, data) == again
