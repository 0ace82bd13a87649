"""A canary: a successor that gets a share of the clients, and more of them step by step.

core/canary/ decides when a step is over, and what a verdict means.
"""

from __future__ import annotations

from sockact.core.canary import progress
from sockact.core.canary.progress import Promote, Refuse, Steer, Wait
from sockact.core.canary.verdict import NOTHING_SEEN
from sockact.core.lifecycle import events
from sockact.core.lifecycle.actions import Report
from sockact.core.lifecycle.handover import commit, describe, take_back
from sockact.core.message_kinds import News
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.canary.progress import Canary, Order, Progress
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation
    from sockact.core.lifecycle.transition import Transition


def judged(step: Transition, event: Event) -> None:
    """A verdict was reached."""
    assert isinstance(event, events.Judged)
    found = _canary(step)
    if found is not None and found[1].number == event.number:
        canary, g = found
        step.state = replace(step.state, canary=replace(canary, judgement=event.judgement))
        due(step, g)


def due(step: Transition, g: Generation) -> None:
    """A step may be over."""
    canary = step.state.canary
    assert canary is not None
    advanced = progress.advance(canary.plan, canary.progress, canary.judgement, step.now)
    _follow(step, g, *advanced)


def promote(step: Transition, _event: Event) -> None:
    """The operator gives it all clients."""
    if (found := _canary(step)) is not None:
        canary, g = found
        _follow(step, g, *progress.promote(canary.progress))


def share(step: Transition, event: Event) -> None:
    """The operator gives it a share of the clients, which it keeps."""
    assert isinstance(event, events.Share)
    if (found := _canary(step)) is not None:
        canary, g = found
        _follow(step, g, *progress.set_share(canary.progress, event.share, step.now))


def _canary(step: Transition) -> tuple[Canary, Generation] | None:
    """The canary, unless the operator has paused the service."""
    canary, handover = step.state.canary, step.state.handover
    g = step.state.get(handover.successor) if handover and not step.state.is_paused else None
    return (canary, g) if canary is not None and g is not None else None


def _follow(step: Transition, g: Generation, now: Progress, order: Order) -> None:
    canary = step.state.canary
    assert canary is not None
    predecessor = step.state.predecessor
    step.state = replace(step.state, canary=replace(canary, progress=now))
    match order:
        case Steer():
            # What was seen until now says nothing about this step.
            now_seen = replace(canary, progress=now, judgement=NOTHING_SEEN)
            step.state = replace(step.state, canary=now_seen)
            step.do(Report(g.number, describe(now), news=News.CANARY))
            step.update(replace(g, canary_until=progress.over(canary.plan, now)))
        case Wait(until):
            step.update(replace(g, canary_until=until))
        case Promote(reason):
            g = replace(g, canary_until=None)
            step.update(g)
            step.do(Report(g.number, f"canary: gets all clients ({reason})", news=News.CANARY))
            commit(step, g, predecessor)
        case Refuse(reason):
            take_back(step, replace(g, canary_until=None), reason)
