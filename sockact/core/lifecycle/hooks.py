"""Hooks: the commands that are due after a step, and what the lifecycle waits for. docs/hooks.md.

Which ones are due is read off the service before and after the step, and its actions. Only two
things wait for their end: a trial, and the stop signal of a generation that drains. Both have a
bound of their own, `hook_until`, should nobody ever tell.
"""

from __future__ import annotations

from enum import StrEnum

from sockact.core.lifecycle import trial
from sockact.core.lifecycle.actions import Finish, Report, Spawn
from sockact.core.lifecycle.events import HookEnded, TrialFailed
from sockact.core.lifecycle.model import Gate, Outcome, State
from sockact.core.lifecycle.turn import STOPPING
from sockact.core.news import News
from sockact.core.record import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sockact.core.lifecycle.actions import Action
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation, Handover, Service
    from sockact.core.lifecycle.turn import Turn


class Hook(StrEnum):
    """What a command may be run at."""

    PENDING = "pending"
    """A generation was launched."""
    RUNNING = "running"
    """It serves, be it on trial."""
    DRAINING = "draining"
    """It has served, and its drain begins."""
    DRAINED = "drained"
    """It has served, and its last process has ended."""
    FAILED = "failed"
    """It came to nothing: before it served, on trial, or by a crash."""
    ROLLED_BACK = "rolled_back"
    """It serves again."""


@dataclass(frozen=True)
class Due:
    """The commands of this generation for this event have to be run."""

    event: Hook
    number: int
    reason: str = ""


def due(before: Service, after: Service, asked: Iterable[Action]) -> tuple[Due, ...]:
    """What is due after a step, in the order in which it is to be run."""
    actions = tuple(asked)
    failed = _failed(before, after, actions)
    found = [Due(Hook.FAILED, number, reason) for number, reason in failed.items()]
    found += [Due(Hook.ROLLED_BACK, n) for n in _back(before, after, actions)]
    found += [Due(Hook.PENDING, one.number) for one in actions if isinstance(one, Spawn)]
    for g in after.generations:
        known = before.get(g.number)
        if g.introduced and not (known and known.introduced):
            found.append(Due(Hook.RUNNING, g.number))
        if g.introduced and _begins(State.DRAINING, known, g):
            found.append(Due(Hook.DRAINING, g.number))
    for g in before.generations:
        ended = after.get(g.number) is None and g.introduced
        if ended and g.state is not State.FAILED and g.number not in failed:
            found.append(Due(Hook.DRAINED, g.number))
    return tuple(found)


def _begins(state: State, known: Generation | None, g: Generation) -> bool:
    return g.state is state and (known is None or known.state is not state)


def _failed(before: Service, after: Service, actions: tuple[Action, ...]) -> dict[int, str]:
    """Number → reason."""
    found = {
        g.number: STOPPING
        for g in after.generations
        if _begins(State.FAILED, before.get(g.number), g)
    }
    for one in actions:
        if isinstance(one, Report) and one.news is News.FAILED and one.error:
            found[one.number] = one.message
        elif isinstance(one, Finish) and _came_to_nothing(before, one.handover):
            found[one.handover.successor] = one.handover.reason
    return found


def _came_to_nothing(before: Service, handover: Handover) -> bool:
    successor = before.get(handover.successor)
    if successor is None or handover.rollback or handover.outcome is not Outcome.FAILED:
        return False
    # Who serves on trial while the service stops has not failed.
    return handover.reason != STOPPING or successor.state is State.PENDING


def _back(before: Service, after: Service, actions: tuple[Action, ...]) -> list[int]:
    """Those that serve again."""
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


def ended(turn: Turn, event: Event) -> None:
    """The commands have ended: whatever waits for that goes on."""
    assert isinstance(event, HookEnded)
    g = turn.state.get(event.number)
    if g is None or g.hook_until is None:
        return
    if event.event == Hook.RUNNING and g.trial_until is not None:
        _introduced(turn, g, event.reason)
    elif event.event == Hook.DRAINING and g.state is State.DRAINING:
        _may_end(turn, g)


def late(turn: Turn, g: Generation) -> None:
    """Nobody has told in time how they ended."""
    if g.state is State.DRAINING:
        _may_end(turn, g)
    else:
        _introduced(turn, g, "its hook has not ended in time")


def _introduced(turn: Turn, g: Generation, reason: str) -> None:
    g = replace(g, hook_until=None)
    turn.update(g)
    if reason:
        trial.failed(turn, TrialFailed(g.number, reason))
    elif g.trial_over:
        trial.over(turn, g)


def _may_end(turn: Turn, g: Generation) -> None:
    g = replace(g, hook_until=None)
    turn.update(g)
    if g.stop_for:
        turn.terminate(g, g.stop_for)
    elif g.census_at is None and g.gate in (Gate.CLOSED, Gate.NONE):
        turn.update(replace(g, census_at=turn.now))
