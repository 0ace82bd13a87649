"""The tests for two samples give the numbers of scipy."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from sockact.core.canary import sample, statistics

COUNTS = st.one_of(st.integers(1, 40), st.integers(1, 5000), st.integers(1, 1_000_000))
TABLES = st.tuples(COUNTS, COUNTS).flatmap(
    lambda totals: st.tuples(
        st.integers(0, totals[0]), st.just(totals[0]), st.integers(0, totals[1]), st.just(totals[1])
    )
)
HISTOGRAMS = st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(any)


def scipy_fisher(failed: int, total: int, failed_before: int, total_before: int) -> float:
    table = [[failed, total - failed], [failed_before, total_before - failed_before]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)


@given(TABLES)
@example((15, 30, 0, 270))
@example((0, 30, 0, 270))
@example((30, 30, 270, 270))
@example((10_100, 1_000_000, 9_900, 1_000_000))
@example((9_900, 1_000_000, 10_100, 1_000_000))
@example((500_000, 1_000_000, 499_000, 1_000_000))
@example((20, 1_000, 0, 1_000_000))
def test_fisher(table: tuple[int, int, int, int]) -> None:
    found = statistics.fisher(*table)
    assert found == pytest.approx(scipy_fisher(*table), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("table", [(15, 30, 0, 270), (20, 1000, 0, 9000), (90, 100, 200, 1000)])
def test_fisher_of_what_is_rare_is_exact_to_many_digits(table: tuple[int, int, int, int]) -> None:
    assert statistics.fisher(*table) == pytest.approx(scipy_fisher(*table), rel=1e-8)


@given(HISTOGRAMS, HISTOGRAMS)
@example([1], [1])
@example([0, 5], [5])
@example([9, 0, 0, 1], [9, 1])
def test_mann_whitney(canary: list[int], baseline: list[int]) -> None:
    found = statistics.mann_whitney(canary, baseline)
    assert found is not None
    mine, others = ([i for i, n in enumerate(one) for _ in range(n)] for one in (canary, baseline))
    assert found.superiority == pytest.approx(
        sum((a > b) + (a == b) / 2 for a in mine for b in others) / (len(mine) * len(others))
    )
    if len({*mine, *others}) > 1:  # scipy divides by zero otherwise.
        wanted = stats.mannwhitneyu(mine, others, alternative="greater", method="asymptotic")
        assert found.p == pytest.approx(float(wanted.pvalue), rel=1e-6, abs=1e-6)
    else:
        assert found.p == 1.0


def test_nothing_is_compared_with_nothing() -> None:
    assert statistics.mann_whitney([], [1]) is None
    assert statistics.mann_whitney([1], [0, 0]) is None


def test_buckets() -> None:
    edges = [sample.edge(index) for index in range(sample.BUCKETS)]
    assert edges[8] == pytest.approx(2 * edges[0])
    middles = [sample.edge(index + 0.5) for index in range(sample.BUCKETS)]
    assert [sample.bucket(one) for one in middles] == [*range(sample.BUCKETS)]
    assert [sample.bucket(one) for one in (-1.0, 0.0, 1e-9, 1e9)] == [0, 0, 0, sample.BUCKETS - 1]


@given(st.lists(st.floats(0.001, 10.0), min_size=1, max_size=40))
def test_quantiles_are_as_exact_as_the_buckets(durations: list[float]) -> None:
    histogram = [0] * sample.BUCKETS
    for one in durations:
        histogram[sample.bucket(one)] += 1
    wanted = sorted(durations)[-(-len(durations) // 2) - 1]
    assert statistics.median(histogram) == pytest.approx(wanted, rel=0.1)


def test_a_median_is_interpolated() -> None:
    histogram = [0] * 10 + [100]
    assert statistics.median(histogram) == pytest.approx(sample.edge(10.5))
    assert statistics.median([0, 1, 0, 1]) == pytest.approx(sample.edge(2))
    assert statistics.median([]) == 0.0


def test_a_percentile_is_a_bucket() -> None:
    found = [statistics.percentile([0, 98, 0, 1, 1], share) for share in (0.5, 0.98, 0.99, 1.0)]
    assert found == [1, 1, 3, 4]
    assert statistics.percentile([], 0.5) == 0
