"""Tallies: merging, percentiles, and the split into steady and during reloads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.tally import Failure, Quantiles, Report, Tally


def tally_of(answers: list[tuple[float, float]]) -> Tally:
    """A tally with answers given as (started, ended)."""
    tally = Tally()
    for started, ended in answers:
        tally.answered(started, ended, "1")
    return tally


def test_an_answer_that_touches_a_window_is_inside() -> None:
    tally = tally_of([(0.0, 1.0), (1.0, 2.5), (2.2, 2.4), (2.9, 3.5), (0.0, 9.0), (4.0, 5.0)])
    steady, during = tally.split([(2.0, 3.0)])
    assert (steady.count, during.count) == (2, 4)
    assert during.longest == 9.0


def test_percentiles_are_answers_that_somebody_waited_for() -> None:
    quantiles = Quantiles.of(float(number) for number in range(1, 101))
    assert (quantiles.p50, quantiles.p99, quantiles.longest) == (51.0, 100.0, 100.0)
    assert Quantiles.of([]) == Quantiles(0, 0.0, 0.0, 0.0)


def test_a_stall_counts_the_requests_that_it_held_up() -> None:
    tally = tally_of([*((start * 0.01, start * 0.01 + 0.001) for start in range(900)), (9.0, 9.5)])
    assert tally.split([])[0].p99 < 0.01
    assert tally.split([], interval=0.01)[0].p99 > 0.3


def test_reports_merge_label_by_label() -> None:
    one, other = Report(), Report()
    one.tally("new").answered(0.0, 1.0, "1")
    other.tally("new").failed(0.0, 1.0, Failure.RESET, "reset")
    other.tally("slow").answered(0.0, 2.0, "2")
    one.merge(other)
    assert one.failures() == 1
    assert one.tally("new").requests == 2
    assert one.total().versions == {"1": 1, "2": 1}
    assert "new: 1 of 2 reset" in one.explain()


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10))), st.floats(0, 100))
def test_every_answer_is_on_one_side_of_a_split(
    answers: list[tuple[float, float]], middle: float
) -> None:
    tally = tally_of([(started, started + seconds) for started, seconds in answers])
    steady, during = tally.split([(middle, middle + 1.0)])
    assert steady.count + during.count == len(answers)
