"""What proves that a pending generation is ready: docs/readiness.md."""

from __future__ import annotations

from sockact.core.lifecycle.actions import Report, StartProbe
from sockact.core.lifecycle.crash import fail
from sockact.core.lifecycle.events import Interest, Observed, Proven
from sockact.core.lifecycle.handover import serve
from sockact.core.lifecycle.model import Ready, State
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation
    from sockact.core.lifecycle.transition import Transition


def observed(step: Transition, event: Event) -> None:
    """Remember what explains it, should the generation never become ready."""
    assert isinstance(event, Observed)
    g = step.state.get(event.number)
    if g is None or g.state is not State.PENDING:
        return
    if event.misplaced and not g.misplaced:
        step.do(Report(g.number, event.hint))
    g = replace(
        g,
        bound=event.bound,
        hint=event.hint,
        refusal=event.refusal,
        misplaced=g.misplaced or event.misplaced,
        alone=event.alone,
    )
    step.update(g)
    if event.hopeless and not g.interested:
        fail(step, g, f"not ready: {g.hint}")


def interest(step: Transition, event: Event) -> None:
    """The generation waits for connections. That has to last for the settle time, unless it has to
    send READY=1 itself.
    """
    assert isinstance(event, Interest)
    g = step.state.get(event.number)
    if g is None or g.state is not State.PENDING or g.interested:
        return
    if step.state.policy.ready is not Ready.NOTIFY:
        step.update(replace(g, interested=True, settle_at=step.now + step.state.policy.settle))


def settled(step: Transition, g: Generation) -> None:
    """The generation has waited for connections, and lived, for the settle time."""
    if step.state.policy.ready is not Ready.PROBE:
        serve(step, g)
        return
    step.update(replace(g, settle_at=None))
    serving = step.state.serving
    if serving is None or (step.state.policy.private_ready and g.alone):
        step.do(StartProbe(g.number))
    else:
        # The probe goes through the shared listener: meanwhile no other generation may answer it.
        step.pause(serving)


def proven(step: Transition, event: Event) -> None:
    """READY=1 came, or the probe has passed."""
    assert isinstance(event, Proven)
    g = step.state.get(event.number)
    if g is not None and g.state is State.PENDING:
        serve(step, g)


def timed_out(step: Transition, g: Generation) -> None:
    """The generation is not ready within the start timeout."""
    seconds = step.state.policy.start_timeout
    reason = f"not ready within the start timeout of {seconds:g} s"
    fail(step, g, f"{reason}: {g.hint}" if g.hint else reason)
