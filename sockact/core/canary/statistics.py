"""Tests for two samples, and the sizes of their difference. All are one-sided: is the canary worse?

Fisher's exact test compares two rates, the test of Mann and Whitney two distributions. Both are
for one look at the data. For looks that are repeated see evidence.py.

Sources: R. A. Fisher, The Design of Experiments (1935). H. B. Mann, D. R. Whitney, On a test of
whether one of two random variables is stochastically larger than the other, Annals of Mathematical
Statistics 18 (1947); the correction for ties: M. Hollander, D. A. Wolfe, Nonparametric Statistical
Methods, section 4.1. A. Vargha, H. D. Delaney, A critique and improvement of the CL common language
effect size statistics, Journal of Educational and Behavioral Statistics 25 (2000).
"""

from __future__ import annotations

import math
from itertools import accumulate, zip_longest

from sockact.core.canary.sample import edge
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_EXACT = 100
"""Failures of one round that are taken one by one."""

_NEGLIGIBLE = 1e-17


def fisher(failed: int, total: int, failed_before: int, total_before: int) -> float:
    """Fisher's exact test: the probability that at least `failed` of the canary's `total` requests
    fail if those that fail are spread over the requests of both generations at random.
    """
    failing = failed + failed_before
    least, most = max(0, failing - total_before), min(total, failing)
    if failed <= least:
        return 1.0
    # The sum runs away from the mode, so that its terms only shrink.
    if failed * (total + total_before) > total * failing:
        return min(1.0, _tail(failed, most, 1, (total, failing, total_before)))
    return max(0.0, 1.0 - _tail(failed - 1, least, -1, (total, failing, total_before)))


def _tail(first: int, last: int, towards: int, table: tuple[int, int, int]) -> float:
    """The sum of the hypergeometric probabilities from `first` to `last`."""
    total, failing, total_before = table
    term = math.exp(
        _log_choose(total, first)
        + _log_choose(total_before, failing - first)
        - _log_choose(total + total_before, failing)
    )
    found = 0.0
    for count in range(first, last + towards, towards):
        found += term
        if term < _NEGLIGIBLE * found:
            break
        rest = total_before - failing + count
        if towards > 0:
            term *= (total - count) * (failing - count) / ((count + 1) * (rest + 1))
        else:
            term *= count * rest / ((total - count + 1) * (failing - count + 1))
    return found


def _log_choose(total: int, count: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)


def log_mean_power(odds: float, total: int, failing: int, total_before: int) -> float:
    """The logarithm of the mean of odds ** (the canary's failures), if the `failing` requests are
    spread at random. For more than MOST_EXACT an upper bound, that of the binomial distribution:
    W. Hoeffding, Probability inequalities for sums of bounded random variables, JASA 58 (1963),
    section 6.
    """
    if not failing:
        return 0.0
    if failing > MOST_EXACT:
        return failing * math.log1p((odds - 1) * total / (total + total_before))
    all_ways = _log_choose(total + total_before, failing)
    logs = [
        _log_choose(total, failed)
        + _log_choose(total_before, failing - failed)
        - all_ways
        + failed * math.log(odds)
        for failed in range(max(0, failing - total_before), min(total, failing) + 1)
    ]
    largest = max(logs)
    return largest + math.log(sum(math.exp(one - largest) for one in logs))


@dataclass(frozen=True)
class Ranks:
    """The comparison of two histograms by ranks."""

    superiority: float
    """Probability that a duration of the canary is longer than one of the baseline; equal ones
    count half. Cliff's delta is twice this, less 1.
    """
    p: float
    """Mann and Whitney's probability, with the corrections for ties and for continuity."""


def mann_whitney(canary: Sequence[int], baseline: Sequence[int]) -> Ranks | None:
    """Compare two histograms with the same buckets; None if one of them is empty.

    A bucket is a tie of all durations in it.
    """
    mine, others = sum(canary), sum(baseline)
    if not mine or not others:
        return None
    wins = below = ties = 0
    for count, other in zip_longest(canary, baseline, fillvalue=0):
        if not count and not other:
            continue
        # Twice the number of pairs that the canary wins: whole numbers are exact.
        wins += count * (2 * below + other)
        below += other
        ties += (count + other) ** 3 - (count + other)
    pairs, both = mine * others, mine + others
    variance = pairs / 12 * (both + 1 - ties / (both * (both - 1)))
    excess = (wins - pairs) / 2 - 0.5
    p = math.erfc(excess / math.sqrt(2 * variance)) / 2 if variance > 0 else 1.0
    return Ranks(wins / (2 * pairs), min(1.0, p))


def percentile(histogram: Sequence[int], share: float) -> int:
    """The index of the bucket that this share of all is in or below; 0 for an empty histogram."""
    wanted = share * sum(histogram)
    sums = enumerate(accumulate(histogram))
    return next((index for index, below in sums if below >= wanted), 0)


def median(histogram: Sequence[int]) -> float:
    """The median in seconds, interpolated within its bucket; 0.0 for an empty histogram."""
    if not any(histogram):
        return 0.0
    index = percentile(histogram, 0.5)
    return edge(index + (sum(histogram) / 2 - sum(histogram[:index])) / histogram[index])
