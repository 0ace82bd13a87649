"""Verdicts on simulated canaries: how many equal releases are refused, and how soon bad ones.

    python -m bench.verdict [--seed N] [--canaries N] [PART ...]

Each canary is watched for 20,000 requests of both generations, with a look after each 100; it has a
tenth of them, unless the table says otherwise. The same seed gives the same table. Each CPU has a
process.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import sys
from dataclasses import dataclass, field
from functools import cache, partial
from random import Random
from statistics import NormalDist
from typing import TYPE_CHECKING

from bench.table import render
from sockact.core.canary.evidence import begin, begin_step, observe
from sockact.core.canary.sample import BUCKETS, Pair, Sample, bucket, edge
from sockact.core.canary.verdict import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.pool import Pool

    from sockact.core.canary.verdict import Judgement

REQUESTS = 20_000
LOOK = 100
"""Requests between two looks."""
MEDIAN = 0.1
"""Seconds."""
COSTS = [0.01 * math.exp(NormalDist().inv_cdf((n + 0.5) / 4096)) for n in range(4096)]
"""Seconds of CPU time of a request, all equally probable: their logarithms are normal."""

Durations = tuple[float, ...]
"""The probabilities that a duration is in this bucket, or in one before it. All that the product
sees of a duration is its bucket, so nothing else is drawn.
"""


@dataclass(frozen=True)
class Moment:
    """What requests meet: `at` is the part of the canary that is over, 0 to 1."""

    at: float
    canary: bool
    seed: int


@cache
def lognormal(sigma: float, times: float = 1.0) -> Durations:
    """Durations whose logarithms have this standard deviation, `times` as long as usual."""
    logs = NormalDist(math.log(MEDIAN * times), sigma)
    return (*(logs.cdf(math.log(edge(n + 1))) for n in range(BUCKETS - 1)), 1.0)


def mixed(first: Durations, second: Durations, share: float) -> Durations:
    """This share of the durations are of the second kind."""
    pairs = zip(first, second, strict=True)
    return tuple((1 - share) * one + share * other for one, other in pairs)


def usual(sigma: float, slower: float = 1.0) -> Callable[[Moment], Durations]:
    """Lognormal durations; those of the canary are `slower` times as long."""
    return lambda moment: lognormal(sigma, slower if moment.canary else 1.0)


@cache
def _clumps(times: float) -> Durations:
    parts = {bucket(times * 0.002): 0.48, bucket(times * 0.1): 0.5, bucket(times * 5.0): 0.02}
    return tuple(sum(part for at, part in parts.items() if at <= n) for n in range(BUCKETS))


def clumped(moment: Moment) -> Durations:
    """Hits, misses and timeouts; in one second of twenty the database makes all slow."""
    return _clumps(10.0 if int(moment.at * 200) % 20 == 7 else 1.0)


def pausing(moment: Moment) -> Durations:
    """Pauses of one generation alone, at times of its own: 3 of 100 looks are 20 times as slow."""
    turn = Random(f"{moment.seed} {int(moment.at * 200)} {moment.canary}")
    return lognormal(0.5, 20.0 if turn.random() < 0.03 else 1.0)


def long_tail(moment: Moment) -> Durations:
    """One request of twenty of the canary takes 30 times as long."""
    return LONG_TAIL if moment.canary else lognormal(0.5)


LONG_TAIL = mixed(lognormal(0.5), lognormal(0.5, 30.0), 0.05)


def failing(rate: float, canary: float | None = None) -> Callable[[Moment], float]:
    """The rates at which the generations fail; both the same if only one is given."""
    return lambda moment: rate if canary is None or not moment.canary else canary


SELDOM, USUAL = failing(0.01), usual(0.5)


def outage(moment: Moment) -> float:
    """What both need is away for a tenth of the time."""
    return 0.9 if 0.45 < moment.at < 0.55 else 0.001


def turning_bad(moment: Moment) -> float:
    """From the middle on the canary fails one request of ten."""
    return 0.1 if moment.canary and moment.at > 0.5 else 0.01


@dataclass(frozen=True)
class Part:
    """A kind of canary. `shares`: one a step, all as long as each other."""

    name: str
    fails: Callable[[Moment], float] = SELDOM
    durations: Callable[[Moment], Durations] = USUAL
    shares: tuple[float, ...] = (0.1,)
    requests: int = REQUESTS
    looks: int = 1
    """Looks for each LOOK requests."""


PARTS = {
    "equal": Part("equal releases"),
    "steps": Part("equal, in steps of 1, 10 and 50 %", shares=(0.01, 0.1, 0.5)),
    "failing": Part("equal, both fail 20 %", failing(0.2)),
    "outage": Part("equal, in steps, an outage of both", outage, shares=(0.02, 0.2, 0.6)),
    "clumped": Part("equal, durations in clumps", durations=clumped),
    "pausing": Part("equal, each pauses at times", durations=pausing),
    "minute": Part("equal, a request a minute, 30 min", requests=30, looks=60 * LOOK),
    "slower2": Part("slower by 2 %, sigma 0.3", durations=usual(0.3, 1.02)),
    "fails2": Part("fails 2 %, before 0 %", failing(0.0, 0.02)),
    "fails3": Part("fails 3 %, before 1 %", failing(0.01, 0.03)),
    "half": Part("fails 50 %, before 1 %", failing(0.01, 0.5)),
    "half50": Part("fails 50 %, before 1 %, share 50 %", failing(0.01, 0.5), shares=(0.5,)),
    "slower30": Part("slower by 30 %, sigma 0.3", durations=usual(0.3, 1.3)),
    "slower30wide": Part("slower by 30 %, sigma 0.5", durations=usual(0.5, 1.3)),
    "tail": Part("takes 30 times as long for 5 %", durations=long_tail),
    "late": Part("fails 10 % in the second half", turning_bad),
}


def _binomial(count: int, probability: float, chance: Random) -> int:
    """How many of so many happen. Drawn is how many do not, until one does."""
    if not 0.0 < probability < 1.0:
        return count if probability else 0
    found, at = 0, 0
    while True:
        at += 1 + int(math.log(1.0 - chance.random()) / math.log1p(-probability))
        if at > count:
            return found
        found += 1


@dataclass
class Counters:
    """A generation's counters as they grow."""

    requests: int = 0
    errors: int = 0
    lines: int = 0
    cpu: float = 0.0
    durations: list[int] = field(default_factory=list)

    def count(self, requests: int, fails: float, durations: Durations, chance: Random) -> None:
        """So many requests have ended. One that fails writes a traceback."""
        failed = _binomial(requests, fails, chance)
        self.requests += requests
        self.errors += failed
        self.lines += 20 * failed
        self.cpu += sum(chance.choices(COSTS, k=requests))
        found = chance.choices(range(BUCKETS), cum_weights=durations, k=requests)
        self.durations += [0] * (max(found, default=0) + 1 - len(self.durations))
        for index in found:
            self.durations[index] += 1

    def sample(self, share: float, chance: Random) -> Sample:
        """The counters now. An idle program needs CPU time and memory, and writes lines, too."""
        self.cpu += 0.1
        self.lines += chance.random() < 0.1
        connections = 1 + int(50 * share)
        return Sample(
            self.requests,
            self.errors,
            durations=tuple(self.durations),
            lines=self.lines,
            cpu=self.cpu,
            queue_age=chance.expovariate(20.0),
            memory=int((4e6 + 1e5 * connections) * chance.lognormvariate(0.0, 0.3)),
            connections=connections,
        )


def watch(part: Part, seed: int, looks: int = 1) -> Iterator[tuple[int, Judgement]]:
    """After each look: how many requests the canary has had, and the verdict.

    `looks`: how many times as many looks as usual.
    """
    chance = Random(seed)
    generations = Counters(), Counters()
    share = part.shares[0]

    def now() -> Pair:
        shares = 1 - share, share
        samples = (
            one.sample(share, chance) for one, share in zip(generations, shares, strict=True)
        )
        return Pair(*samples)

    evidence = begin(now())
    looks *= part.looks
    number = part.requests * looks // LOOK
    for look in range(number):
        at = look / number
        if share != (step := part.shares[int(at * len(part.shares))]):
            share = step
            evidence = begin_step(evidence, now())
        requests = (look + 1) * LOOK // looks - look * LOOK // looks
        mine = _binomial(requests, share, chance)
        for counters, count in zip(generations, (requests - mine, mine), strict=True):
            moment = Moment(at, counters is generations[1], seed)
            counters.count(count, part.fails(moment), part.durations(moment), chance)
        evidence = observe(evidence, now())
        yield generations[1].requests, judge(evidence)


@dataclass(frozen=True)
class End:
    """How a canary ended: its last verdict, and how many requests it had had."""

    requests: int
    verdict: Verdict
    reason: str


def end(part: Part, seed: int) -> End:
    """Watch one canary until it is refused, or its time is over."""
    found = End(0, Verdict.NOT_ENOUGH, "")
    for requests, judgement in watch(part, seed):
        found = End(requests, judgement.verdict, str(judgement))
        if judgement.verdict is Verdict.WORSE:
            break
    return found


def _end(name: str, seed: int) -> End:
    return end(PARTS[name], seed)


def row(name: str, seeds: range, workers: Pool) -> list[str]:
    """One line of the table."""
    found = workers.map(partial(_end, name), seeds, chunksize=1)
    refused = [one for one in found if one.verdict is Verdict.WORSE]
    requests = [one.requests for one in refused]
    sizes = [f"{statistics.median(requests):.0f}", str(max(requests))] if refused else ["-", "-"]
    return [
        PARTS[name].name,
        f"{len(refused)} of {len(seeds)}",
        str(sum(one.verdict is Verdict.NOT_ENOUGH for one in found)),
        *sizes,
        refused[0].reason if refused else "",
    ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.verdict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--canaries", type=int, default=200, help="of each kind")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {min(unknown)!r}; choose from {', '.join(PARTS)}")
    seeds = range(options.seed, options.seed + options.canaries)
    with multiprocessing.Pool() as workers:
        rows = [row(name, seeds, workers) for name in options.parts or PARTS]
    head = [
        "canary",
        "refused",
        "not enough seen",
        "its requests (median)",
        "(most)",
        "for example",
    ]
    print(render(head, rows))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
