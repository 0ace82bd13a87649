"""Hooks: which commands are due after a step, and what waits for them to end. See docs/hooks.md.

Which hooks are due follows from the service before and after the step, and from its actions. Only
two things wait for a hook: a trial, and the stop signal of a generation that drains. Both have a
deadline of their own, `hook_until`, in case the end of the hook is never reported.
"""

from __future__ import annotations

from enum import StrEnum

from sockact.core.canary.schedule import WHOLE
from sockact.core.lifecycle import trial
from sockact.core.lifecycle.actions import Finish, Report, Spawn
from sockact.core.lifecycle.events import HookEnded, TrialFailed
from sockact.core.lifecycle.model import Gate, Outcome, State
from sockact.core.lifecycle.stop import STOPPING
from sockact.core.message_kinds import News
from sockact.core.record import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sockact.core.lifecycle.actions import Action
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation, Handover, Service
    from sockact.core.lifecycle.transition import Transition


class Hook(StrEnum):
    """An event for which a command may be run."""

    PENDING = "pending"
    """The generation was launched."""
    RUNNING = "running"
    """It serves, for good or on trial."""
    DRAINING = "draining"
    """It has served, and begins to drain."""
    DRAINED = "drained"
    """It has served, and its last process has ended."""
    FAILED = "failed"
    """It failed before it served, failed its trial, or crashed."""
    ROLLED_BACK = "rolled_back"
    """It serves again."""
    CANARY = "canary"
    """It gets another share of the new clients, or all of them, as a canary."""


@dataclass(frozen=True)
class Due:
    """The generation's commands for this event have to be run."""

    event: Hook
    number: int
    reason: str = ""
    share: int | None = None
    """Of a canary: its share of the new clients in per mille."""
    step: tuple[int, int] | None = None
    """Of a canary: the step, from 1, and the number of steps; None once it gets all clients."""


def due(before: Service, after: Service, asked: Iterable[Action]) -> tuple[Due, ...]:
    """The hooks that are due after a step, in the order in which to run them."""
    actions = tuple(asked)
    failed = _failed(before, after, actions)
    found = [Due(Hook.FAILED, number, reason) for number, reason in failed.items()]
    found += [Due(Hook.ROLLED_BACK, n) for n in _rolled_back(before, after, actions)]
    found += [Due(Hook.PENDING, one.number) for one in actions if isinstance(one, Spawn)]
    for g in after.generations:
        known = before.get(g.number)
        if g.introduced and not (known and known.introduced):
            found.append(Due(Hook.RUNNING, g.number))
        if g.introduced and _begins(State.DRAINING, known, g):
            found.append(Due(Hook.DRAINING, g.number))
    found += _shared(before, after, actions)
    for g in before.generations:
        ended = after.get(g.number) is None and g.introduced
        if ended and g.state is not State.FAILED and g.number not in failed:
            found.append(Due(Hook.DRAINED, g.number))
    return tuple(found)


def _shared(before: Service, after: Service, actions: tuple[Action, ...]) -> Iterator[Due]:
    """The canary that gets another share, or all clients."""
    known, now = before.canary, after.canary
    if now is not None and after.handover is not None:
        share, step = now.progress.share, now.progress.step
        if known is None or (known.progress.share, known.progress.step) != (share, step):
            steps = len(now.plan.schedule.steps)
            yield Due(Hook.CANARY, after.handover.successor, share=share, step=(step + 1, steps))
    elif known is not None:
        for one in actions:
            if isinstance(one, Finish) and one.handover.outcome is Outcome.COMMITTED:
                yield Due(Hook.CANARY, one.handover.successor, share=WHOLE)


def _begins(state: State, known: Generation | None, g: Generation) -> bool:
    return g.state is state and (known is None or known.state is not state)


def _failed(before: Service, after: Service, actions: tuple[Action, ...]) -> dict[int, str]:
    """Generation → reason."""
    found = {
        g.number: STOPPING
        for g in after.generations
        if _begins(State.FAILED, before.get(g.number), g)
    }
    for one in actions:
        if isinstance(one, Report) and one.news is News.FAILED and one.error:
            found[one.number] = one.message
        elif isinstance(one, Finish) and _is_failure(before, one.handover):
            found[one.handover.successor] = one.handover.reason
    return found


def _is_failure(before: Service, handover: Handover) -> bool:
    successor = before.get(handover.successor)
    if successor is None or handover.rollback or handover.outcome is not Outcome.FAILED:
        return False
    # A generation that is on trial when the service stops has not failed.
    return handover.reason != STOPPING or successor.state is State.PENDING


def _rolled_back(before: Service, after: Service, actions: tuple[Action, ...]) -> list[int]:
    """The generations that serve again."""
    found = []
    for one in actions:
        if isinstance(one, Report) and one.news is News.SERVES_AGAIN:
            found.append(one.number)
        elif isinstance(one, Finish):
            number = _serves_again(before, after, one.handover)
            found += [number] if number else []
    return found


def _serves_again(before: Service, after: Service, handover: Handover) -> int | None:
    if handover.rollback:
        return handover.successor if handover.outcome is Outcome.COMMITTED else None
    tried = before.on_trial is not None and before.on_trial.number == handover.successor
    predecessor = after.get(handover.predecessor or 0)
    if handover.outcome is not Outcome.FAILED or not tried or predecessor is None:
        return None
    return predecessor.number if predecessor.state is State.RUNNING else None


def ended(step: Transition, event: Event) -> None:
    """The commands have ended: what waited for them goes on."""
    assert isinstance(event, HookEnded)
    g = step.state.get(event.number)
    if g is None or g.hook_until is None:
        return
    if event.event == Hook.RUNNING and g.trial_until is not None:
        _introduced(step, g, event.reason)
    elif event.event == Hook.DRAINING and g.state is State.DRAINING:
        _go_on_draining(step, g)


def timed_out(step: Transition, g: Generation) -> None:
    """The end of the commands was not reported in time."""
    if g.state is State.DRAINING:
        _go_on_draining(step, g)
    else:
        _introduced(step, g, "the hook did not end in time")


def _introduced(step: Transition, g: Generation, reason: str) -> None:
    g = replace(g, hook_until=None)
    step.update(g)
    if reason:
        trial.failed(step, TrialFailed(g.number, reason))
    elif g.trial_over:
        trial.over(step, g)


def _go_on_draining(step: Transition, g: Generation) -> None:
    g = replace(g, hook_until=None)
    step.update(g)
    if g.stop_for:
        step.terminate(g, g.stop_for)
    elif g.census_at is None and g.gate in (Gate.CLOSED, Gate.NONE):
        step.update(replace(g, census_at=step.now))
