"""The end of a service: asked for, or because the program ended."""

from __future__ import annotations

from sockact.core.lifecycle.actions import Finish, Quit
from sockact.core.lifecycle.events import Stop
from sockact.core.lifecycle.handover import finish
from sockact.core.lifecycle.model import Handover, Outcome, Phase, State
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation
    from sockact.core.lifecycle.transition import Transition

STOPPING = "the service is stopping"
"""Reason of a handover that ends because the service does."""


def stop(step: Transition, event: Event) -> None:
    """Drain every generation, or send it the stop signal now."""
    assert isinstance(event, Stop)
    if step.state.phase is Phase.STOPPED:
        return
    step.state = replace(step.state, respawn_at=None)
    step.enter(Phase.STOPPING)
    for number in [g.number for g in step.state.generations]:
        g = step.state.get(number)
        if g is not None and g.finishing and event.now:
            step.finish_by_kill_timeout(g)
        if g is None or g.ending:
            continue
        if g.state is State.PENDING:
            _abandon(step, g)
            g = step.state.get(number) or g
        if g.ending:
            continue
        if event.now:
            step.terminate(replace(g, hook_until=None), "stopping without a drain")
        elif g.state in (State.RUNNING, State.PAUSED):
            step.drain(g)
    _cancel_handovers(step)
    quit_when_empty(step)


def _abandon(step: Transition, g: Generation) -> None:
    step.discard(g)
    handover = step.state.handover
    if handover and step.state.in_handover and handover.successor == g.number:
        finish(step, Outcome.FAILED, STOPPING)


def hurry(step: Transition, _event: Event) -> None:
    """Shorten every drain to the kill timeout."""
    if step.state.phase is not Phase.STOPPING:
        return
    latest = step.now + step.state.policy.kill_timeout
    for g in step.state.only(State.DRAINING):
        if g.finishing:
            step.finish_by_kill_timeout(g)
        if g.drain_deadline is not None and g.drain_deadline > latest:
            step.update(replace(g, drain_deadline=latest))


def give_up(step: Transition, status: int) -> None:
    """End the service with this exit status once every process has ended."""
    step.state = replace(step.state, exit_status=status, respawn_at=None)
    _cancel_handovers(step)
    step.enter(Phase.STOPPING)
    step.release_kept()
    quit_when_empty(step)


def quit_when_empty(step: Transition) -> None:
    """End the supervisor if the service is stopping and no generation is left."""
    if step.state.phase is Phase.STOPPING and not step.state.generations:
        step.enter(Phase.STOPPED)
        step.do(Quit(step.state.exit_status))


def _cancel_handovers(step: Transition) -> None:
    if step.state.in_handover:
        finish(step, Outcome.FAILED, STOPPING)
    if step.state.queued is not None:
        # It never began, but its callers wait for an outcome, too.
        cancelled = Handover(
            step.state.queued,
            step.now,
            None,
            step.state.last_number + 1,
            Outcome.FAILED,
            STOPPING,
            step.now,
            drained=True,
        )
        step.do(Finish(cancelled))
    step.state = replace(step.state, queued=None)
