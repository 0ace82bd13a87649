"""The end of a generation, by a drain, and the end of a service.

In a drain, connections are counted until none needs the generation, or the timeout expires. A
service ends because that was asked for, or because the program ended.
"""

from __future__ import annotations

from sockact.core.lifecycle.actions import IDLE, Finish, Kill, Quit, TakeCensus
from sockact.core.lifecycle.events import Census, Stop
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

IDLE_SAMPLES = 2
"""Number of consecutive idle samples that end a drain, unless it is settled: a connection accepted
just before the gate closed may be missing from the first."""

FINISHING_INTERVAL = 1.0
"""Seconds between two counts after a stop signal that was sent while connections were idle."""

KILL_AGAIN = 1.0
"""Seconds from one SIGKILL to the next, while any process is left."""


def stop(step: Transition, event: Event) -> None:
    """Drain every generation, or send it the stop signal now."""
    assert isinstance(event, Stop)
    if step.state.phase is Phase.STOPPED:
        return
    step.state = replace(step.state, respawn_at=None)
    step.end_pause(STOPPING)
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
    step.end_pause(STOPPING)
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


def counted(step: Transition, event: Event) -> None:
    """The connections of a generation were counted."""
    assert isinstance(event, Census)
    g = step.state.get(event.number)
    if g is None or g.state is not State.DRAINING:
        return
    if g.ending:
        _counted_again(step, g, event)
        return
    idle = 0 if event.busy or event.fresh else g.idle_samples + 1
    if idle >= IDLE_SAMPLES or (idle and event.settled):
        _stop_drained(step, g, event)
        return
    interval = step.state.policy.census_interval if event.look_in is None else event.look_in
    step.update(replace(g, idle_samples=idle, census_at=step.now + interval))


def _stop_drained(step: Transition, g: Generation, event: Census) -> None:
    """Send the stop signal. A server that only looks idle, in a pause of a response, finishes it
    after the signal: as long as it has connections, it has the whole drain timeout for that.
    """
    deadline = g.drain_deadline
    step.terminate(g, IDLE)
    stopped = step.state.get(g.number)
    if stopped is None or deadline is None:
        return
    if event.quiet and stopped.ending and step.now < deadline:
        kill_at = deadline + step.state.policy.kill_timeout
        census_at = step.now + FINISHING_INTERVAL
        step.update(replace(stopped, finishing=True, kill_at=kill_at, census_at=census_at))


def _counted_again(step: Transition, g: Generation, event: Census) -> None:
    if not g.finishing:
        return
    if event.busy or event.fresh or event.quiet:
        interval = max(FINISHING_INTERVAL, event.look_in or 0.0)
        step.update(replace(g, census_at=step.now + interval))
    else:
        step.finish_by_kill_timeout(g)


def count_due(step: Transition, g: Generation) -> None:
    """Count the connections."""
    step.update(replace(g, census_at=None))
    step.do(TakeCensus(g.number))


def drain_timed_out(step: Transition, g: Generation) -> None:
    """The drain timeout, or what `hurry` has left of it, is over."""
    seconds = step.state.policy.drain_timeout
    hurried = step.now < g.since + seconds
    reason = "the drain was cut short" if hurried else f"the drain timeout of {seconds:g} s expired"
    step.terminate(g, reason)


def kill_due(step: Transition, g: Generation) -> None:
    """Kill what is left after the kill timeout."""
    # Until Gone: a process may have been forked while the others were killed.
    again = replace(g, kill_at=step.now + KILL_AGAIN, killed=True, finishing=False, census_at=None)
    step.update(again)
    since = "the drain timeout expired" if g.finishing else "its stop signal"
    reason = f"still running {step.state.policy.kill_timeout:g} s after {since}"
    step.do(Kill(g.number, "" if g.killed else reason, cuts_off=g.finishing))
