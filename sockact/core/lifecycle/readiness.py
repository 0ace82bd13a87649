"""What proves that a pending generation serves: docs/readiness.md."""

from __future__ import annotations

from sockact.core.lifecycle.actions import StartProbe
from sockact.core.lifecycle.events import Interest, Observed, Proven
from sockact.core.lifecycle.model import Ready, State
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation
    from sockact.core.lifecycle.turn import Turn


def observed(turn: Turn, event: Event) -> None:
    """What is known of it, should it never get ready."""
    assert isinstance(event, Observed)
    g = turn.state.get(event.number)
    if g is not None and g.state is State.PENDING:
        turn.update(replace(g, bound=event.bound, hint=event.hint, refusal=event.refusal))


def interest(turn: Turn, event: Event) -> None:
    """It waits for connections: unless it has to say so itself, that has to last."""
    assert isinstance(event, Interest)
    g = turn.state.get(event.number)
    if g is None or g.state is not State.PENDING or g.interested:
        return
    if turn.state.policy.ready is not Ready.NOTIFY:
        turn.update(replace(g, interested=True, settle_at=turn.now + turn.state.policy.settle))


def settled(turn: Turn, g: Generation) -> None:
    """The generation has waited for connections, and lived, for the settle time."""
    if turn.state.policy.ready is not Ready.PROBE:
        turn.run(g)
        return
    turn.update(replace(g, settle_at=None))
    serving = turn.state.serving
    if serving is None:
        turn.do(StartProbe(g.number))
    else:
        # The probe goes through the shared listener: while it runs, nobody else may answer it.
        turn.pause(serving)


def proven(turn: Turn, event: Event) -> None:
    """The proof that was asked for is there."""
    assert isinstance(event, Proven)
    g = turn.state.get(event.number)
    if g is not None and g.state is State.PENDING:
        turn.run(g)
