"""The phase that a handover is in, by the state of the service.

start: the successor was launched and is not ready
probe: the successor is probed before it is ready, its predecessor paused
warm: the successor is ready and warmed up, its predecessor serves
trial: the successor serves alone, its predecessor paused
canary: the successor gets a share of the clients, beside its predecessor
open: the gate of a generation that is to serve again opens
keep: the predecessor is kept paused for a rollback
drain: the generation that leaves serves the connections it has
stop: that generation was sent its stop signal
"""

from __future__ import annotations

from sockact.core.lifecycle.model import Outcome, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Generation, Service


def phase_of(service: Service, outcome: str, predecessor: int | None, successor: int) -> str:
    """The phase of a handover with this outcome so far; "" if it is over."""
    before, g = service.get(predecessor or 0), service.get(successor)
    if outcome == Outcome.PENDING.value:
        if g is not None and g.warm_until is not None:
            return "warm"
        return "canary" if service.canary is not None else _before_outcome(g, before)
    left = before if outcome == Outcome.COMMITTED.value else g
    if left is None:
        return ""
    if left.keep_until is not None:
        return "keep"
    if left.ending or left.state is State.FAILED:
        return "stop"
    # Otherwise it serves again.
    return "drain" if left.state is State.DRAINING else ""


def _before_outcome(successor: Generation | None, predecessor: Generation | None) -> str:
    if successor is not None and successor.trial_until is not None:
        return "trial"
    if successor is None or successor.state is not State.PENDING:
        return "open"
    paused = predecessor is not None and predecessor.state is State.PAUSED
    return "probe" if paused else "start"
