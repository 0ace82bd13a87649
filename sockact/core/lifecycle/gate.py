"""What follows when a gate has moved, or cannot be moved.

The lifecycle orders a gate closed for a drain, or for as long as a successor is probed, and open
when that probe has come to nothing. A generation that clients should reach never stays with a gate
that is closed, even in part: an order to open goes out, and if that cannot be carried out, another
generation takes its place.
"""

from __future__ import annotations

from sockact.core.lifecycle import trial
from sockact.core.lifecycle.actions import StartProbe
from sockact.core.lifecycle.events import GateMoved
from sockact.core.lifecycle.model import Gate, State
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation
    from sockact.core.lifecycle.turn import Turn


def gate_moved(turn: Turn, event: Event) -> None:
    """An order was carried out, or could not be. What no order is out for is late news."""
    assert isinstance(event, GateMoved)
    g = turn.state.get(event.number)
    if g is None or g.ending:
        return
    if g.gate is Gate.OPENING and event.gate in (Gate.OPEN, Gate.NONE):
        _opened(turn, g, event)
    elif g.gate is Gate.CLOSING and event.gate in (Gate.CLOSED, Gate.NONE):
        _closed(turn, g, event)
    elif g.gate is Gate.NONE and event.gate is Gate.CLOSED and g.state is State.DRAINING:
        turn.update(replace(g, gate=Gate.CLOSED, gate_reason=""))


def _opened(turn: Turn, g: Generation, event: GateMoved) -> None:
    if event.gate is Gate.OPEN:
        g = replace(g, gate=Gate.OPEN, gate_deadline=None)
        turn.update(g)
        trial.back(turn, g)
        return
    # It would hear of no client any more: somebody else has to.
    g = replace(g, gate=Gate.NONE, gate_reason=event.reason, gate_deadline=None)
    turn.drain(g)
    turn.lost(g, f"its gate does not open again: {event.reason}")


def _closed(turn: Turn, g: Generation, event: GateMoved) -> None:
    g = replace(g, gate=event.gate, gate_reason=event.reason, gate_deadline=None)
    if g.state is State.DRAINING:
        turn.update(replace(g, census_at=turn.now))
        return
    turn.update(g)
    if g.keep_until is not None:
        if g.gate is Gate.NONE:
            turn.drain(g)  # Beside its successor it would go on accepting.
    elif successor := turn.state.on_trial:
        trial.predecessor_paused(turn, g, successor)
    else:
        _probe(turn, g)


def _probe(turn: Turn, g: Generation) -> None:
    """Paused for its successor's probe, which runs anyway: status says why it may be answered by
    the wrong one.
    """
    if g.gate is Gate.NONE:
        turn.resume(g, g.gate_reason)
    successor = turn.state.pending
    if successor is not None:
        turn.do(StartProbe(successor.number))
