"""A canary under way: what to do next, given the time, the verdict, and what the operator asks for.

Pure: a Progress goes in, the next one and one Order come out. Time is CLOCK_MONOTONIC in seconds.
A step ends when its time is over and the canary is not worse; at WORSE it is refused at once,
whatever else was asked for. After Promote or Refuse nothing follows any more.
"""

from __future__ import annotations

from sockact.core.canary.schedule import WHOLE, percent
from sockact.core.canary.verdict import Unsure, Verdict, when_unsure
from sockact.core.record import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.canary.schedule import Schedule
    from sockact.core.canary.verdict import Judgement

BY = ("connection", "client")
"""How clients can be shared out."""
UNSURE = tuple(one.value for one in Unsure)
"""What can be done at the end of a step in which not enough was seen."""
REFUSED = "canary refused"
_UNSURE = (Verdict.NOT_ENOUGH, Verdict.PENDING)


@dataclass(frozen=True)
class Plan:
    """The settings of a canary."""

    schedule: Schedule
    unsure: Unsure = Unsure.WAIT
    timeout: float = 600.0
    """Longest time in seconds that a step waits for requests after its own time."""
    by_client: bool = False
    """No client sees both generations."""
    judges: tuple[str, ...] = ()
    """Who is asked besides, as judges.py reads them."""


@dataclass(frozen=True)
class Progress:
    """How far a canary is. Plain data, carried to other versions of sockact."""

    step: int
    """Index of the step; the number of steps: none is left."""
    share: int
    """Per mille of the new clients, as steered."""
    since: float
    """When it got this share."""
    held: bool = False
    """It keeps this share until the operator says how to go on."""
    ended: bool = False


@dataclass(frozen=True)
class Canary:
    """A successor that gets a share of the clients, beside its predecessor."""

    plan: Plan
    progress: Progress
    judgement: Judgement
    """The last one."""


@dataclass(frozen=True)
class Steer:
    """Give the canary this share of the new clients, in per mille; begin a step of the evidence."""

    share: int


@dataclass(frozen=True)
class Promote:
    """Give the canary all clients, and drain the previous generation."""

    reason: str


@dataclass(frozen=True)
class Refuse:
    """Give the previous generation all clients, and drain the canary."""

    reason: str


@dataclass(frozen=True)
class Wait:
    """Nothing changes before this time; None: before something is asked for, or found."""

    until: float | None


Order = Steer | Promote | Refuse | Wait


def begin(plan: Plan, now: float) -> tuple[Progress, Order]:
    """The first step."""
    return _enter(plan, 0, now)


def advance(
    plan: Plan, progress: Progress, judgement: Judgement, now: float
) -> tuple[Progress, Order]:
    """What follows from the verdict at this time."""
    if progress.ended:
        return progress, Wait(None)
    if judgement.verdict is Verdict.WORSE:
        return _end(progress, Refuse(f"{REFUSED}: worse than the previous generation: {judgement}"))
    until = over(plan, progress)
    if until is None or now < until:
        return progress, Wait(until)
    # Beside a canary that gets all clients there is nothing to compare it with.
    if judgement.verdict in _UNSURE and progress.share < WHOLE:
        # An answer is on its way.
        unsure = Unsure.WAIT if judgement.verdict is Verdict.PENDING else plan.unsure
        choice = when_unsure(unsure, now - until, plan.timeout)
        if choice is Unsure.WAIT:
            return progress, Wait(until + plan.timeout)
        if choice is Unsure.ROLLBACK:
            reason = f"{REFUSED}: not enough seen at {percent(progress.share)}: {judgement}"
            return _end(progress, Refuse(reason))
    if progress.step + 1 < len(plan.schedule.steps):
        return _enter(plan, progress.step + 1, now)
    return _end(progress, Promote(str(judgement)))


def promote(progress: Progress) -> tuple[Progress, Order]:
    """The operator gives the canary all clients."""
    if progress.ended:
        return progress, Wait(None)
    return _end(progress, Promote("promoted by hand"))


def set_share(progress: Progress, share: int, now: float) -> tuple[Progress, Order]:
    """The operator gives the canary this share in per mille, and holds it there."""
    if progress.ended:
        return progress, Wait(None)
    return replace(progress, share=share, since=now, held=True), Steer(share)


def over(plan: Plan, progress: Progress) -> float | None:
    """When the time of the step is over; None while the share is held."""
    return None if progress.held else progress.since + plan.schedule.steps[progress.step].seconds


def waiting_since(plan: Plan, progress: Progress, now: float) -> float | None:
    """Since when the canary only waits: for the operator, or for requests; None if it does not."""
    until = over(plan, progress)
    since = progress.since if until is None else until
    return since if since <= now else None


def _enter(plan: Plan, step: int, now: float) -> tuple[Progress, Order]:
    share = plan.schedule.steps[step].share
    return Progress(step, share, now), Steer(share)


def _end(progress: Progress, order: Order) -> tuple[Progress, Order]:
    return replace(progress, ended=True), order
