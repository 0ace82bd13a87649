"""Verdicts on simulated canaries: how many equal releases are refused, and how soon bad ones.

    python -m bench.verdict [--seed N] [--canaries N] [PART ...]

Each canary is watched for 20,000 requests of both generations, with a look after each 100; it has a
tenth of them, unless the table says otherwise. The same seed gives the same table.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.table import render
from sockact.core.canary.evidence import begin, begin_step, observe
from sockact.core.canary.sample import BUCKETS, Pair, Sample, bucket
from sockact.core.canary.verdict import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockact.core.canary.verdict import Judgement

REQUESTS = 20_000
LOOK = 100
"""Requests between two looks."""
MEDIAN = 0.1
"""Seconds."""


@dataclass(frozen=True)
class Moment:
    """What a request meets: `at` is the part of the canary that is over, 0 to 1."""

    at: float
    canary: bool
    chance: random.Random
    seed: int


def lognormal(sigma: float, slower: float = 1.0) -> Callable[[Moment], float]:
    """Durations whose logarithms have this standard deviation; the canary's are `slower` times."""

    def seconds(moment: Moment) -> float:
        factor = slower if moment.canary else 1.0
        return MEDIAN * factor * math.exp(moment.chance.gauss(0.0, sigma))

    return seconds


def clumped(moment: Moment) -> float:
    """Hits, misses and timeouts; in one second of twenty the database makes all slow."""
    clump = moment.chance.choices((0.002, 0.1, 5.0), (48, 50, 2))[0]
    return clump * (10.0 if int(moment.at * 200) % 20 == 7 else 1.0)


def pausing(moment: Moment) -> float:
    """Pauses of one generation alone, at times of its own: 3 of 100 looks are 20 times as slow."""
    turn = random.Random(f"{moment.seed} {int(moment.at * 200)} {moment.canary}")
    return USUAL(moment) * (20.0 if turn.random() < 0.03 else 1.0)


def long_tail(moment: Moment) -> float:
    """One request of twenty of the canary takes 30 times as long."""
    late = moment.canary and moment.chance.random() < 0.05
    return USUAL(moment) * (30.0 if late else 1.0)


USUAL = lognormal(0.5)


def failing(rate: float, canary: float | None = None) -> Callable[[Moment], float]:
    """The rates at which the generations fail; both the same if only one is given."""
    return lambda moment: rate if canary is None or not moment.canary else canary


SELDOM = failing(0.01)


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
    seconds: Callable[[Moment], float] = USUAL
    shares: tuple[float, ...] = (0.1,)


PARTS = {
    "equal": Part("equal releases"),
    "steps": Part("equal, in steps of 1, 10 and 50 %", shares=(0.01, 0.1, 0.5)),
    "failing": Part("equal, both fail 20 %", failing(0.2)),
    "outage": Part("equal, in steps, an outage of both", outage, shares=(0.02, 0.2, 0.6)),
    "clumped": Part("equal, durations in clumps", seconds=clumped),
    "pausing": Part("equal, each pauses at times", seconds=pausing),
    "slower2": Part("slower by 2 %, sigma 0.3", seconds=lognormal(0.3, 1.02)),
    "fails2": Part("fails 2 %, before 0 %", failing(0.0, 0.02)),
    "fails3": Part("fails 3 %, before 1 %", failing(0.01, 0.03)),
    "half": Part("fails 50 %, before 1 %", failing(0.01, 0.5)),
    "half50": Part("fails 50 %, before 1 %, share 50 %", failing(0.01, 0.5), shares=(0.5,)),
    "slower30": Part("slower by 30 %, sigma 0.3", seconds=lognormal(0.3, 1.3)),
    "slower30wide": Part("slower by 30 %, sigma 0.5", seconds=lognormal(0.5, 1.3)),
    "tail": Part("takes 30 times as long for 5 %", seconds=long_tail),
    "late": Part("fails 10 % in the second half", turning_bad),
}


@dataclass
class Counters:
    """A generation's counters as they grow."""

    requests: int = 0
    errors: int = 0
    lines: int = 0
    cpu: float = 0.0
    durations: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def count(self, failed: bool, seconds: float, chance: random.Random) -> None:
        """A request has ended. One that fails writes a traceback."""
        self.requests += 1
        self.errors += failed
        self.lines += 20 * failed
        self.cpu += 0.01 * chance.lognormvariate(0.0, 1.0)
        self.durations[bucket(seconds)] += 1

    def sample(self, share: float, chance: random.Random) -> Sample:
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


def watch(part: Part, seed: int, look: int = LOOK) -> Iterator[tuple[int, Judgement]]:
    """After each `look` requests: how many the canary has had, and the verdict."""
    chance = random.Random(seed)
    baseline, canary = Counters(), Counters()
    share = part.shares[0]

    def now() -> Pair:
        return Pair(baseline.sample(1 - share, chance), canary.sample(share, chance))

    evidence = begin(now())
    for number in range(REQUESTS):
        at = number / REQUESTS
        step = part.shares[int(at * len(part.shares))]
        if step != share:
            share = step
            evidence = begin_step(evidence, now())
        moment = Moment(at, chance.random() < share, chance, seed)
        failed = chance.random() < part.fails(moment)
        counters = canary if moment.canary else baseline
        counters.count(failed, part.seconds(moment), chance)
        if number % look == look - 1:
            evidence = observe(evidence, now())
            yield canary.requests, judge(evidence)


@dataclass(frozen=True)
class Refusal:
    """When a canary was refused: how many requests it had had, and why."""

    requests: int
    reason: str


def refusal(part: Part, seed: int) -> Refusal | None:
    """Watch one canary until it is refused."""
    for requests, judgement in watch(part, seed):
        if judgement.verdict is Verdict.WORSE:
            return Refusal(requests, str(judgement))
    return None


def row(part: Part, canaries: int, seed: int) -> list[str]:
    """One line of the table."""
    found = [refusal(part, seed + number) for number in range(canaries)]
    refused = [one for one in found if one is not None]
    requests = [one.requests for one in refused]
    sizes = [f"{statistics.median(requests):.0f}", str(max(requests))] if refused else ["-", "-"]
    return [
        part.name,
        f"{len(refused)} of {canaries}",
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
    rows = [row(PARTS[name], options.canaries, options.seed) for name in options.parts or PARTS]
    head = ["canary", "refused", "its requests (median)", "(most)", "for example"]
    print(render(head, rows))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
