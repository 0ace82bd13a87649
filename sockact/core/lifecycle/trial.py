"""The trial of a successor, and the ways back to the generation before.

On trial a successor serves alone: its predecessor is paused, so that a probe on the shared listener
can reach nobody else, and is brought back by opening its gate. See docs/trial.md.
"""

from __future__ import annotations

from sockact.core.lifecycle.actions import Report
from sockact.core.lifecycle.events import Rollback, TrialFailed, TrialPassed
from sockact.core.lifecycle.model import Gate, Handover, Outcome, Phase, State
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation
    from sockact.core.lifecycle.turn import Turn

BY_HAND = "rolled back by hand"


def predecessor_paused(turn: Turn, g: Generation, successor: Generation) -> None:
    """The gate of the predecessor has moved as far as it does: the trial begins."""
    if g.gate is Gate.NONE:
        # It goes on accepting beside its successor. Part of its gate may be closed.
        turn.open_gate(g)
        reason = f"its predecessor answers, too: {g.gate_reason}"
        turn.do(Report(successor.number, f"on trial, but {reason}"))
    turn.begin_trial(successor)


def passed(turn: Turn, event: Event) -> None:
    """The probe of the trial has passed once."""
    assert isinstance(event, TrialPassed)
    g = turn.state.get(event.number)
    if g is not None and g.trial_until is not None:
        turn.update(replace(g, trial_passed=True))


def over(turn: Turn, g: Generation) -> None:
    """The time of the trial has passed without a failure."""
    policy = turn.state.policy
    if g.hook_until is not None:
        turn.update(replace(g, trial_until=g.hook_until, trial_over=True))
        return
    if policy.probed and not g.trial_passed:
        _take_back(turn, g, f"the probe has not passed within the trial of {policy.trial:g} s")
        return
    g = replace(g, trial_until=None)
    turn.update(g)
    turn.commit(g, turn.state.paused)


def failed(turn: Turn, event: Event) -> None:
    """The probe, or the accept queue, says that the generation is no good."""
    assert isinstance(event, TrialFailed)
    g = turn.state.get(event.number)
    if g is not None and g.trial_until is not None:
        _take_back(turn, g, event.reason)


def _take_back(turn: Turn, g: Generation, reason: str) -> None:
    predecessor = turn.state.paused
    if predecessor is None:
        turn.update(replace(g, trial_until=None))
        reason += "; it goes on serving, because its predecessor has ended"
    else:
        turn.resume(predecessor)  # First of all: clients wait.
        turn.drain(replace(g, taken_back=True))
    turn.finish(Outcome.FAILED, reason)
    turn.settle_phase()


def keep_over(turn: Turn, g: Generation) -> None:
    """Nobody wanted it back."""
    turn.drain(g)


def rollback(turn: Turn, event: Event) -> None:
    """Take a release back by hand: the one under way, or the last one."""
    assert isinstance(event, Rollback)
    state = turn.state
    if state.phase in (Phase.STOPPING, Phase.STOPPED) or not state.can_go_back:
        return
    if state.in_handover:
        _cancel(turn)
    elif state.fallback is not None:
        _go_back(turn, state.fallback)


def _cancel(turn: Turn) -> None:
    handover = turn.state.handover
    assert handover
    successor = turn.state.get(handover.successor)
    if successor is None or handover.rollback:
        return
    if successor.trial_until is not None:
        _take_back(turn, successor, BY_HAND)
    elif successor.state is State.PENDING:
        turn.fail(successor, BY_HAND)


def _go_back(turn: Turn, good: Generation) -> None:
    bad = turn.state.serving
    identity = turn.state.last_handover + 1
    handover = Handover(identity, turn.now, bad.number if bad else None, good.number, rollback=True)
    turn.state = replace(turn.state, handover=handover, last_handover=identity, respawn_at=None)
    turn.enter(Phase.RELOADING)
    turn.resume(good)
    turn.bound_opening(good.number)
    if bad is not None:
        # It serves until the gate is open, and goes on if that does not come about in time.
        return
    if turn.state.pending is not None:
        # Launched again after a crash.
        turn.end(turn.state.pending)


def back(turn: Turn, g: Generation) -> None:
    """The gate of the generation that somebody wanted back is open."""
    handover = turn.state.handover
    if handover and _waited_for(turn, g):
        bad = turn.state.get(handover.predecessor or 0)
        if bad is not None and bad.state is State.RUNNING:
            turn.drain(replace(bad, taken_back=True))
        turn.finish(Outcome.COMMITTED)
        turn.settle_phase()


def opens_late(turn: Turn, g: Generation) -> None:
    """Its gate is not open yet. The order stays out, but nobody waits for its end any more."""
    turn.update(replace(g, gate_deadline=None))
    if _waited_for(turn, g):
        seconds = turn.state.policy.gate_timeout
        turn.finish(Outcome.FAILED, f"its gate has not opened within {seconds:g} s, and still may")
        turn.settle_phase()


def _waited_for(turn: Turn, g: Generation) -> bool:
    handover = turn.state.handover
    rolls_back = handover is not None and handover.rollback and handover.successor == g.number
    return rolls_back and turn.state.in_handover
