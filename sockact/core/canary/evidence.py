"""Evidence against a canary, for verdicts that may be asked for at any time, as often as wanted.

A test whose p-value is looked at once a second refuses every release sooner or later. So each
source of evidence keeps a *wealth* instead, which begins at 1 and is put on bets that the canary is
worse. Whatever bets are chosen before the data are seen, equal releases give no gain on average:
the wealth is a test martingale, and reaches 1/a with a probability of at most a, over the whole
canary (Ville's inequality). No number of looks has to be planned, and no look costs anything. The
sources share one error rate (verdict.py).

*Rounds.* A bet is on what happened between two looks, and compares the generations within that time
only: an outage that hits both, or a growing share of the canary, is no evidence.

*Rates* (failures, deaths): given all failures of a round, those of the canary have the distribution
of Fisher's exact test if the releases are equal. A bet on an odds ratio t multiplies the wealth by
t to the power of the canary's failures, divided by the mean of this power: on average by 1.

*Bounded differences* (durations, and quantities that are only compared): x, from -1/2 to 1/2, is
not above 0 on average if the releases are equal; the factor is 1 + bet · x. For durations x is the
probability of superiority within the round, less 1/2: the statistic of Mann and Whitney. A round
counts once, however many requests it has: a pause that makes all requests of a second slow is one
observation, not a hundred. So slow requests are no rate, but a difference of shares.

*Which bet.* Several, each with a part of the wealth (a mixture). A reserve is put in bit by bit, so
that a release that turns bad late meets bets that are not lost yet.

Sources: J. Ville, Étude critique de la notion de collectif (1939). H. Robbins, Statistical methods
related to the law of the iterated logarithm, Annals of Mathematical Statistics 41 (1970).
J. ter Schure, M. Pérez-Ortiz, A. Ly, P. Grünwald, The anytime-valid logrank test, NEJSDS 2 (2024).
I. Waudby-Smith, A. Ramdas, Estimating means of bounded random variables by betting, JRSS B 86
(2024). See docs/canary-statistics.md.
"""

from __future__ import annotations

import math

from sockact.core.canary.statistics import log_mean_power, mann_whitney, percentile
from sockact.core.record import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.core.canary.sample import Pair

ODDS = (2.0, 5.0, 20.0, 1000.0)
"""The odds ratios that are bet on, and below the part of the wealth that each gets."""
ODDS_PARTS = (0.15, 0.15, 0.2, 0.5)
BETS = (0.25, 0.5, 1.0, 1.8)
"""The bets on bounded differences; 1.8 cannot lose everything even at -1/2 - MARGIN."""
BETS_PARTS = (0.25, 0.25, 0.25, 0.25)
RESERVE = 0.1
"""Part of the wealth that the first round leaves; round n leaves RESERVE / n."""
MARGIN = 0.03
"""Difference of the probability of superiority from 1/2 that is no evidence. Durations that are 2 %
longer have 0.02, if their logarithms have a standard deviation of 0.3."""

ROUND = 5
"""Requests of each generation that end a round."""
BLOCK = 30
"""Requests of each generation after which lines, CPU time and memory are compared."""
BLOCK_LOOKS = 5
"""Looks after which they are compared at the earliest."""
SLOW = 0.99
"""A request is slow if it takes longer than this share of the baseline's requests so far."""
SLOW_BASIS = 500
"""Requests of the baseline after which slow ones are counted."""
SLOW_CLUMP = 0.25
"""A larger difference of the shares of slow requests, within one round, counts as this one."""
COMPARABLE = 3
"""CPU time and memory are compared if neither generation has this many times the requests or
connections of the other: an idle program needs some, too."""
LINES_TIMES, CPU_TIMES, MEMORY_TIMES, QUEUE_TIMES = 2.0, 1.5, 2.0, 2.0
"""How many times as much as the baseline's counts against the canary."""
QUEUE_AGE = 0.1
"""Seconds that a connection may wait in the accept queue."""

_RICH = 1e100
"""A wealth beyond this is no better; JSON has no infinity."""


@dataclass(frozen=True)
class Wealth:
    """What has been won by betting against the canary."""

    bets: tuple[float, ...] = ()
    reserve: float = 1.0
    rounds: int = 0

    @property
    def total(self) -> float:
        """Equal releases reach 1/a with a probability of at most a."""
        return self.reserve + sum(self.bets)

    def bet_on_rates(self, failed: int, total: int, before: int, total_before: int) -> Wealth:
        """A round: failed and total requests of the canary, then those of the baseline."""
        if not total or not total_before:
            return self
        failing = failed + before
        means = [log_mean_power(odds, total, failing, total_before) for odds in ODDS]
        return self._bet_on_odds(failed, means)

    def bet_on_events(self, events: int, before: int, share: float) -> Wealth:
        """A round with events of the canary and of the baseline. `share`: the greatest probability
        that an event is the canary's, if the releases are equal.
        """
        if not events + before:
            return self
        means = [(events + before) * math.log1p((odds - 1) * share) for odds in ODDS]
        return self._bet_on_odds(events, means)

    def _bet_on_odds(self, events: int, means: Sequence[float]) -> Wealth:
        factors = (
            math.exp(min(events * math.log(odds) - mean, 200.0))
            for odds, mean in zip(ODDS, means, strict=True)
        )
        return self._after([*factors], ODDS_PARTS)

    def bet_on_difference(self, difference: float) -> Wealth:
        """A round with this difference, from -1/2 - MARGIN to 1/2; above 0: the canary is worse."""
        return self._after([1 + bet * difference for bet in BETS], BETS_PARTS)

    def _after(self, factors: Sequence[float], parts: Sequence[float]) -> Wealth:
        rounds = self.rounds + 1
        reserve = min(self.reserve, RESERVE / rounds)
        put_in = self.reserve - reserve
        before = self.bets or (0.0,) * len(parts)
        bets = (
            min(_RICH, (had + put_in * part) * factor)
            for had, part, factor in zip(before, parts, factors, strict=True)
        )
        return Wealth(tuple(bets), reserve, rounds)


@dataclass(frozen=True)
class Evidence:
    """Everything that is known about a canary; plain data, carried to other versions."""

    first: Pair
    """At the beginning of the canary."""
    step: Pair
    """At the beginning of the step."""
    block: Pair
    """At the end of the last block."""
    last: Pair
    """At the end of the last round."""
    looks: int = 0
    """Since the last block."""
    counted: bool = True
    """Requests are counted."""
    failures: Wealth = Wealth()
    durations: Wealth = Wealth()
    slow: Wealth = Wealth()
    deaths: Wealth = Wealth()
    lines: Wealth = Wealth()
    queue: Wealth = Wealth()
    cpu: Wealth = Wealth()
    memory: Wealth = Wealth()


def begin(now: Pair, counted: bool = True) -> Evidence:
    """No evidence yet: the canary gets its first clients now."""
    return Evidence(now, now, now, now, counted=counted)


def begin_step(evidence: Evidence, now: Pair) -> Evidence:
    """The canary's share changes now. The unfinished round, with a few requests, is left out."""
    return replace(evidence, step=now, block=now, last=now, looks=0)


def rebase(evidence: Evidence, now: Pair, counted: bool = True) -> Evidence:
    """The counters have begun anew, or others are counted. What was won by bets stays."""
    return replace(begin_step(evidence, now), first=now, counted=counted)


def observe(evidence: Evidence, now: Pair, share: float | None = None) -> Evidence:
    """Take in one look at both generations; about once a second.

    Where requests are not counted, `share` is the greatest share of the clients that the canary has
    had, from 0 to 1: then all that is compared is what comes with time.
    """
    if evidence.counted is not (share is None):
        return rebase(evidence, now, share is None)
    evidence = replace(evidence, looks=evidence.looks + 1)
    if evidence.looks % BLOCK_LOOKS == 0:
        evidence = replace(evidence, queue=_queue(evidence.queue, now))
    last = evidence.last
    died = now.canary.deaths > last.canary.deaths or now.baseline.deaths > last.baseline.deaths
    if died or now.least_since(last) >= ROUND or share is not None:
        evidence = _end_round(evidence, now.since(last), now, share)
    enough = now.least_since(evidence.block) >= BLOCK or share is not None
    if evidence.looks >= BLOCK_LOOKS and enough:
        evidence = _end_block(evidence, now.since(evidence.block), now, share)
    return evidence


def _end_round(evidence: Evidence, found: Pair, now: Pair, share: float | None) -> Evidence:
    canary, baseline = found.canary, found.baseline
    ranks = mann_whitney(canary.durations, baseline.durations)
    durations = evidence.durations
    if ranks is not None:
        durations = durations.bet_on_difference(ranks.superiority - 0.5 - MARGIN)
    return replace(
        evidence,
        last=now,
        failures=evidence.failures.bet_on_rates(
            canary.failures, canary.requests, baseline.failures, baseline.requests
        ),
        durations=durations,
        slow=_slow(evidence, found),
        deaths=_deaths(evidence.deaths, found, share),
    )


def _deaths(deaths: Wealth, found: Pair, share: float | None) -> Wealth:
    if share is None:
        mine, both = found.canary.requests, found.canary.requests + found.baseline.requests
        share = mine / both if both else 0.0
    # A worker may die of a request, or of its age.
    return deaths.bet_on_events(found.canary.deaths, found.baseline.deaths, max(0.5, share))


def _slow(evidence: Evidence, found: Pair) -> Wealth:
    # What is slow was known before this round.
    known = evidence.last.baseline.since(evidence.first.baseline).durations
    mine, others = found.canary.durations, found.baseline.durations
    if sum(known) < SLOW_BASIS or not any(mine) or not any(others):
        return evidence.slow
    limit = percentile(known, SLOW) + 1
    difference = sum(mine[limit:]) / sum(mine) - sum(others[limit:]) / sum(others)
    return evidence.slow.bet_on_difference(max(-0.5, min(0.5, difference / (2 * SLOW_CLUMP))))


def _end_block(evidence: Evidence, block: Pair, now: Pair, share: float | None) -> Evidence:
    canary, baseline = block.canary, block.baseline
    lines, cpu, memory = evidence.lines, evidence.cpu, evidence.memory
    # Lines may be of requests or of the time.
    usual = baseline.lines * max(1.0, canary.requests / max(1, baseline.requests))
    if (canary.lines or baseline.lines) and (share is None or share <= 0.5):
        lines = lines.bet_on_difference(_sign(canary.lines > LINES_TIMES * usual))
    if canary.cpu and baseline.cpu and comparable(canary.requests, baseline.requests):
        usual = baseline.cpu * canary.requests / baseline.requests
        cpu = cpu.bet_on_difference(_sign(canary.cpu > CPU_TIMES * usual))
    if canary.memory and baseline.memory and comparable(canary.connections, baseline.connections):
        usual = baseline.memory * canary.connections / baseline.connections
        memory = memory.bet_on_difference(_sign(canary.memory > MEMORY_TIMES * usual))
    return replace(evidence, block=now, looks=0, lines=lines, cpu=cpu, memory=memory)


def comparable(mine: int, others: int) -> bool:
    """Whether two numbers of requests or connections are close enough to compare costs."""
    return 0 < mine < COMPARABLE * others and others < COMPARABLE * mine


def _queue(queue: Wealth, now: Pair) -> Wealth:
    age, usual = now.canary.queue_age, now.baseline.queue_age
    if age is None or usual is None or max(age, usual) <= QUEUE_AGE:
        return queue
    return queue.bet_on_difference(_sign(waits_longer(age, usual)))


def waits_longer(age: float, usual: float) -> bool:
    """Whether this age of the accept queue counts against the canary."""
    return age > max(QUEUE_AGE, QUEUE_TIMES * usual)


def _sign(worse: bool) -> float:
    return 0.5 if worse else -0.5
