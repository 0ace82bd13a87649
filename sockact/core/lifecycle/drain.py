"""The drain: connections are counted until none needs the generation, or the timeout expires."""

from __future__ import annotations

from sockact.core.lifecycle.actions import IDLE, Kill, TakeCensus
from sockact.core.lifecycle.events import Census
from sockact.core.lifecycle.model import State
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation
    from sockact.core.lifecycle.transition import Transition

IDLE_SAMPLES = 2
"""Number of consecutive idle samples that end a drain, unless it is settled: a connection accepted
just before the gate closed may be missing from the first."""

FINISHING_INTERVAL = 1.0
"""Seconds between two counts after a stop signal that was sent while connections were idle."""

KILL_AGAIN = 1.0
"""Seconds from one SIGKILL to the next, while any process is left."""


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
        _stop(step, g, event)
        return
    interval = step.state.policy.census_interval if event.look_in is None else event.look_in
    step.update(replace(g, idle_samples=idle, census_at=step.now + interval))


def _stop(step: Transition, g: Generation, event: Census) -> None:
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


def timed_out(step: Transition, g: Generation) -> None:
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
