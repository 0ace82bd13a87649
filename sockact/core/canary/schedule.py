"""The steps of a canary: which share of the new clients it gets, and for how long.

As text: `1% 1min, 10% 5min, 50% 5min`. After the last step the canary gets all clients. Times are
spans of systemd.time(7). Shares are whole numbers of per mille, because 0.1 % has no exact float.
"""

from __future__ import annotations

from itertools import pairwise

from sockact.core import numbers
from sockact.core.numbers import whole
from sockact.core.record import dataclass

WHOLE = 1000
"""The share, in per mille, of a generation that gets all clients."""
MOST_STEPS = 20
LONGEST_TEXT = 500
"""Characters of a schedule."""
SHORTEST = 1.0
"""Seconds of a step; the generations are compared about once a second."""

_EXAMPLE = "write, for example, '10% 5min'"


@dataclass(frozen=True)
class Step:
    """The canary gets `share` per mille of the new clients for `seconds`."""

    share: int
    seconds: float


@dataclass(frozen=True)
class Schedule:
    """The steps of a canary, the smallest share first."""

    steps: tuple[Step, ...]


def parse(text: str) -> Schedule:
    """Read a schedule. Raises ValueError, which says in one line what to write instead."""
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"a canary's steps must not be longer than {LONGEST_TEXT} characters")
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_STEPS:
        raise ValueError(f"{len(parts)} steps are too many; use at most {MOST_STEPS}")
    steps = tuple(map(_step, parts))
    for before, step in pairwise(steps):
        if step.share <= before.share:
            raise ValueError(
                f"shares must rise: {percent(step.share)} follows {percent(before.share)}; "
                "put the smallest share first"
            )
    return Schedule(steps)


def _step(part: str) -> Step:
    share, sign, time = part.partition("%")
    if not sign or not share:
        raise ValueError(f"{part!r} is not a step with a share and a time; {_EXAMPLE}")
    if not time.strip():
        raise ValueError(f"the step {part!r} has no time; {_EXAMPLE}")
    seconds = round(numbers.seconds(time), 3)
    if not SHORTEST <= seconds <= numbers.LONGEST:
        raise ValueError(f"the time of the step {part!r} must be from 1 s to 7 days; {_EXAMPLE}")
    return Step(parse_share(f"{share}%"), seconds)


def parse_share(text: str) -> int:
    """Read a share such as 25%, 25 or 0.5%; returns per mille. Raises ValueError."""
    number, point, decimals = text.strip().removesuffix("%").rstrip().partition(".")
    percents, tenths = whole(number, 999), whole(decimals[:1] or "0")
    exact = not decimals[1:].strip("0") and bool(decimals) == bool(point)
    if percents is None or tenths is None or not exact:
        raise ValueError(
            f"{text[:LONGEST_TEXT]!r} is not a share; write a percentage with at most one decimal, "
            "for example 25% or 0.5%"
        )
    share = 10 * percents + tenths
    if not 0 < share <= WHOLE:
        raise ValueError(f"the share {text.strip()} must be above 0% and at most 100%")
    return share


def percent(share: int) -> str:
    """A share, given in per mille, as it is typed: 25% or 0.5%."""
    return f"{share / 10:g}%"


def write(schedule: Schedule) -> str:
    """The schedule as text, for `parse`."""
    return ", ".join(
        f"{percent(step.share)} {numbers.span(step.seconds)}" for step in schedule.steps
    )
