"""The trial of a successor, rollbacks, and what follows when a gate has moved.

On trial a successor serves alone: its predecessor is paused, so that a probe through the shared
listener can reach nobody else, and is brought back by opening its gate. Where a probe reaches the
successor alone all the same (docs/lanes.md), its predecessor keeps serving. See docs/trial.md.

A generation that should serve is never left with a gate that is closed, even in part: an order to
open goes out, and if that cannot be carried out, another generation takes its place.
"""

from __future__ import annotations

from sockact.core.lifecycle.actions import Report, StartProbe
from sockact.core.lifecycle.crash import fail, lose
from sockact.core.lifecycle.events import GateMoved, Rollback, TrialFailed, TrialPassed
from sockact.core.lifecycle.handover import begin_trial, finish, introduce, settle, take_back
from sockact.core.lifecycle.model import Gate, Handover, Outcome, Phase, State
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation
    from sockact.core.lifecycle.transition import Transition

BY_HAND = "rolled back by hand"
"""Reason of a handover that `sockact rollback` has ended."""


def _predecessor_paused(step: Transition, g: Generation, successor: Generation) -> None:
    """Begin the trial: the predecessor's gate has closed, or cannot be closed."""
    if g.gate is Gate.NONE:
        # It goes on accepting beside its successor. Part of its gate may be closed.
        step.open_gate(g)
        message = f"on trial, but the previous generation is still accepting: {g.gate_reason}"
        step.do(Report(successor.number, message))
    begin_trial(step, successor)


def passed(step: Transition, event: Event) -> None:
    """The probe of the trial has passed once."""
    assert isinstance(event, TrialPassed)
    g = step.state.get(event.number)
    if g is not None and g.trial_until is not None:
        step.update(replace(g, trial_passed=True))


def over(step: Transition, g: Generation) -> None:
    """The time of the trial has passed without a failure."""
    policy = step.state.policy
    if g.hook_until is not None:
        step.update(replace(g, trial_until=g.hook_until, trial_over=True))
        return
    if policy.probed and not g.trial_passed:
        take_back(step, g, f"the probe did not pass within the trial of {policy.trial:g} s")
        return
    predecessor = step.state.predecessor
    g = replace(g, trial_until=None)
    step.update(g)
    introduce(step, g, predecessor)


def failed(step: Transition, event: Event) -> None:
    """The probe, the accept queue or a hook says that the generation is bad."""
    assert isinstance(event, TrialFailed)
    g = step.state.get(event.number)
    if g is not None and g.trial_until is not None:
        take_back(step, g, event.reason)


def keep_over(step: Transition, g: Generation) -> None:
    """No rollback was asked for while the predecessor was kept: drain it."""
    step.drain(g)


def rollback(step: Transition, event: Event) -> None:
    """Take back the release under way, or the last one."""
    assert isinstance(event, Rollback)
    state = step.state
    stopping = state.phase in (Phase.STOPPING, Phase.STOPPED)
    if stopping or state.is_paused or not state.can_go_back:
        return
    if state.in_handover:
        _cancel(step)
    elif state.fallback is not None:
        _go_back(step, state.fallback)


def _cancel(step: Transition) -> None:
    handover = step.state.handover
    assert handover
    successor = step.state.get(handover.successor)
    if successor is None or handover.rollback:
        return
    if successor.state is State.RUNNING:
        take_back(step, successor, BY_HAND)
    elif successor.state is State.PENDING:
        fail(step, successor, BY_HAND)


def _go_back(step: Transition, good: Generation) -> None:
    bad = step.state.serving
    identity = step.state.last_handover + 1
    handover = Handover(identity, step.now, bad.number if bad else None, good.number, rollback=True)
    step.state = replace(step.state, handover=handover, last_handover=identity, respawn_at=None)
    step.enter(Phase.RELOADING)
    step.resume(good)
    step.limit_opening(good.number)
    if bad is not None:
        # It serves until the gate is open, and goes on if that does not happen in time.
        return
    if step.state.pending is not None:
        # Launched again after a crash.
        step.discard(step.state.pending)


def _rolled_back(step: Transition, g: Generation) -> None:
    """The gate of the generation is open again: a rollback to it is complete."""
    handover = step.state.handover
    if handover and _rolls_back_to(step, g):
        bad = step.state.get(handover.predecessor or 0)
        if bad is not None and bad.state is State.RUNNING:
            step.drain(replace(bad, taken_back=True))
        finish(step, Outcome.COMMITTED)
        settle(step)


def _opens_late(step: Transition, g: Generation) -> None:
    """The gate is not open in time: the rollback fails, but the order stays out."""
    step.update(replace(g, gate_deadline=None))
    if _rolls_back_to(step, g):
        seconds = step.state.policy.gate_timeout
        reason = f"it did not resume accepting within {seconds:g} s; it may still do so later"
        finish(step, Outcome.FAILED, reason)
        settle(step)


def _rolls_back_to(step: Transition, g: Generation) -> bool:
    handover = step.state.handover
    rolls_back = handover is not None and handover.rollback and handover.successor == g.number
    return rolls_back and step.state.in_handover


def gate_moved(step: Transition, event: Event) -> None:
    """An order was carried out, or could not be. Without an order the event is late news."""
    assert isinstance(event, GateMoved)
    g = step.state.get(event.number)
    if g is None or g.ending:
        return
    if g.gate is Gate.OPENING and event.gate in (Gate.OPEN, Gate.NONE):
        _opened(step, g, event)
    elif g.gate is Gate.CLOSING and event.gate in (Gate.CLOSED, Gate.NONE):
        _closed(step, g, event)
    elif g.gate is Gate.NONE and event.gate is Gate.CLOSED and g.state is State.DRAINING:
        step.update(replace(g, gate=Gate.CLOSED, gate_reason=""))


def gate_timed_out(step: Transition, g: Generation) -> None:
    """An order has not been carried out within the gate timeout."""
    if g.gate is Gate.OPENING and step.state.only(State.RUNNING) == (g,):
        _opens_late(step, g)
        return
    seconds = step.state.policy.gate_timeout
    reason = f"the program did not answer within {seconds:g} s"
    gate_moved(step, GateMoved(g.number, Gate.NONE, reason))


def _opened(step: Transition, g: Generation, event: GateMoved) -> None:
    if event.gate is Gate.OPEN:
        g = replace(g, gate=Gate.OPEN, gate_deadline=None)
        step.update(g)
        _rolled_back(step, g)
        return
    # It would not hear of new clients any more: another generation has to serve them.
    g = replace(g, gate=Gate.NONE, gate_reason=event.reason, gate_deadline=None)
    step.drain(g)
    lose(step, g, f"cannot accept connections again: {event.reason}")


def _closed(step: Transition, g: Generation, event: GateMoved) -> None:
    g = replace(g, gate=event.gate, gate_reason=event.reason, gate_deadline=None)
    if g.state is State.DRAINING:
        step.update(replace(g, census_at=step.now))
        return
    step.update(g)
    if g.state is State.RUNNING:
        return  # The operator has paused the service.
    if g.keep_until is not None:
        if g.gate is Gate.NONE:
            step.drain(g)  # It would go on accepting beside its successor.
    elif successor := step.state.on_trial:
        _predecessor_paused(step, g, successor)
    else:
        _probe(step, g)


def _probe(step: Transition, g: Generation) -> None:
    """Start the probe of the successor. If its predecessor could not be paused, that one may answer
    the probe, and the status says so.
    """
    if g.gate is Gate.NONE:
        step.resume(g, g.gate_reason)
    successor = step.state.pending
    if successor is not None:
        step.do(StartProbe(successor.number))
