"""What follows when a gate has moved, or cannot be moved.

The lifecycle orders a gate closed for a drain, or while a successor is probed, and open again if
the successor fails. A generation that should serve is never left with a gate that is closed, even
in part: an order to open goes out, and if that cannot be carried out, another generation takes its
place.
"""

from __future__ import annotations

from sockact.core.lifecycle import trial
from sockact.core.lifecycle.actions import StartProbe
from sockact.core.lifecycle.crash import lose
from sockact.core.lifecycle.events import GateMoved
from sockact.core.lifecycle.model import Gate, State
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation
    from sockact.core.lifecycle.transition import Transition


def moved(step: Transition, event: Event) -> None:
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


def timed_out(step: Transition, g: Generation) -> None:
    """An order has not been carried out within the gate timeout."""
    if g.gate is Gate.OPENING and step.state.only(State.RUNNING) == (g,):
        trial.opens_late(step, g)
        return
    seconds = step.state.policy.gate_timeout
    reason = f"the program did not answer within {seconds:g} s"
    moved(step, GateMoved(g.number, Gate.NONE, reason))


def _opened(step: Transition, g: Generation, event: GateMoved) -> None:
    if event.gate is Gate.OPEN:
        g = replace(g, gate=Gate.OPEN, gate_deadline=None)
        step.update(g)
        trial.opened(step, g)
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
    if g.keep_until is not None:
        if g.gate is Gate.NONE:
            step.drain(g)  # It would go on accepting beside its successor.
    elif successor := step.state.on_trial:
        trial.predecessor_paused(step, g, successor)
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
