"""A pause by the operator: for a while no generation accepts connections, and clients wait.

The gates of all generations that serve close as in a handover. The pause ends when the operator
says so, at its deadline, when a gate cannot be closed, and with the service. See docs/pause.md.
"""

from __future__ import annotations

from sockact.core.canary import progress
from sockact.core.lifecycle import events
from sockact.core.lifecycle.actions import Report
from sockact.core.lifecycle.handover import begin
from sockact.core.lifecycle.model import Gate, Pause, Phase, State
from sockact.core.message_kinds import News
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Service
    from sockact.core.lifecycle.transition import Transition

RESUMED = "resumed by the operator"
EXPIRED = "its time limit was reached"


def obstacle(service: Service) -> str:
    """Why the service cannot be paused now; "" if it can."""
    if service.is_paused:
        return ""
    if service.in_handover and service.canary is None:
        what = "rollback" if service.handover and service.handover.rollback else "reload"
        return f"a {what} is in progress; try again when it has ended"
    if service.pending is not None or not service.only(State.RUNNING):
        return "no generation is serving; see `sockact status`"
    return ""


def pause(step: Transition, event: Event) -> None:
    """Close the gates of all generations that serve. A pause under way gets another deadline."""
    assert isinstance(event, events.Pause)
    if step.state.phase in (Phase.STOPPING, Phase.STOPPED) or obstacle(step.state):
        return
    until = step.now + event.seconds
    before = step.state.pause
    if before is not None and step.state.is_paused:
        respawn_at = until if step.state.respawn_at is not None else None
        step.state = replace(step.state, pause=replace(before, until=until), respawn_at=respawn_at)
        _report(step, f"paused by the operator for up to another {until - step.now:g} s")
        return
    step.state = replace(step.state, pause=Pause(step.now, until))
    for g in step.state.only(State.RUNNING):
        # The time of a canary's step stands still: nothing can be seen of it.
        step.close_gate(replace(g, canary_until=None), hold=True)


def follow(step: Transition) -> None:
    """After each event: a gate may have moved, or a generation that accepted may have ended."""
    pause = step.state.pause
    if pause is None or not step.state.is_paused or pause.complete:
        return
    running = step.state.only(State.RUNNING)
    if failed := next((g for g in running if g.gate is Gate.NONE), None):
        _end(
            step,
            f"generation {failed.number} cannot stop accepting: {failed.gate_reason}",
            bad=True,
        )
    elif all(g.gate is Gate.CLOSED for g in running):
        step.state = replace(step.state, pause=replace(pause, complete=True))
        _report(step, f"paused by the operator for up to {pause.until - step.now:.0f} s")


def resume(step: Transition, _event: Event) -> None:
    """The operator ends the pause."""
    _end(step, RESUMED)


def over(step: Transition) -> None:
    """The longest time of the pause is over."""
    _end(step, EXPIRED)


def wait(step: Transition) -> None:
    """Nothing serves any more: the next generation is launched when the pause ends, so that none
    accepts connections before.
    """
    pause = step.state.pause
    assert pause is not None
    step.enter(Phase.BACKOFF)
    step.state = replace(step.state, respawn_at=pause.until)
    _report(step, "the next generation starts when the pause ends")


def _end(step: Transition, reason: str, *, bad: bool = False) -> None:
    pause = step.state.pause
    if pause is None or not step.state.is_paused:
        return
    step.end_pause(reason)
    for g in step.state.only(State.RUNNING):
        if g.gate in (Gate.CLOSING, Gate.CLOSED, Gate.NONE):
            step.open_gate(g)
    _go_on_with_canary(step, step.now - pause.since)
    done = "not paused" if bad else "pause ended, accepting connections again"
    _report(step, f"{done}: {reason}", error=bad)
    if step.state.queued is not None and not step.state.in_handover:
        begin(step, step.state.queued)
    elif step.state.respawn_at is not None:
        step.spawn()


def _go_on_with_canary(step: Transition, paused_for: float) -> None:
    canary, handover = step.state.canary, step.state.handover
    g = step.state.get(handover.successor) if canary and handover else None
    if canary is None or g is None:
        return
    now = replace(canary.progress, since=canary.progress.since + paused_for)
    step.state = replace(step.state, canary=replace(canary, progress=now))
    step.update(replace(g, canary_until=progress.over(canary.plan, now)))


def _report(step: Transition, message: str, *, error: bool = False) -> None:
    number = next((g.number for g in step.state.only(State.RUNNING)), 0)
    step.do(Report(number, message, error=error, news=News.PAUSE))
