"""The life of a service, as one pure function: step(state, event, now) -> (state, actions).

Theory of operation
===================

A service has at most one generation that clients should reach (running, or paused while its
successor is probed before it is ready), at most one that is pending, and any number that drain, up
to a bound. While its successor serves on trial, or for a while after the commit, a predecessor is
paused: it can be brought back by opening its gate.

    pending ──ready──▶ running ──reload──▶ draining ──nothing busy or fresh──▶ SIGTERM ──▶ drained
       │                │    ▲                │ ▲                                 ▲  │
       │                ▼    │ successor      │ └─ commit, or not kept any more   │  └ kill timeout
       │               paused  failed ────────┘                                   │    ▶ SIGKILL
       ▼                                      └────────── drain timeout ──────────┘
     failed ◀── died, or not ready in time

A generation leaves the list when the last of its processes has ended (Gone), never before. Its
first process may end earlier (Exited).

A handover is one reload. It is pending until its successor is running (committed) or failed; either
way exactly one Finish is emitted for it. A reload that is asked for meanwhile is queued once:
whoever asks after it was queued shares it.

Time comes in as `now`. A deadline is a field of the state, `next_deadline` tells the earliest, and
a timeout is a Tick that finds a deadline passed. Nothing here waits.

An event about a generation that is not listed, or that comes in a state where it has no meaning, is
late news: it changes nothing.
"""

from __future__ import annotations

from sockact.core.lifecycle import actions, hooks, readiness, trial
from sockact.core.lifecycle.actions import (
    Action,
    Announce,
    Drained,
    Kill,
    Report,
    TakeCensus,
    Terminate,
)
from sockact.core.lifecycle.events import (
    Census,
    Event,
    Exited,
    GateMoved,
    Gone,
    HookEnded,
    Hurry,
    Interest,
    LaunchFailed,
    Observed,
    Proven,
    Reload,
    Rollback,
    Start,
    Stop,
    Tick,
    TrialFailed,
    TrialPassed,
)
from sockact.core.lifecycle.gate import gate_moved
from sockact.core.lifecycle.model import Exit, Gate, Generation, Phase, Service, State
from sockact.core.lifecycle.turn import STOPPING, Turn
from sockact.core.news import News
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_SAMPLES = 2
"""So many idle samples in a row end a drain unless it is settled: a connection accepted just
before the gate closed may be missing from the first."""

KILL_AGAIN = 1.0
"""Seconds from one SIGKILL to the next, while anything is left."""


def step(state: Service, event: Event, now: float) -> tuple[Service, tuple[Action, ...]]:
    """The service's next state after `event`, and what the supervisor has to do about it."""
    turn = Turn(state, now)
    _HANDLERS[type(event)](turn, event)
    return turn.state, tuple(turn.actions)


def next_deadline(state: Service) -> float | None:
    """When the next Tick is due, or None while nothing is."""
    times = [state.respawn_at]
    times += [getattr(g, field) for g in state.generations for field in _DEADLINES]
    return min((t for t in times if t is not None), default=None)


def _start(turn: Turn, _event: Event) -> None:
    if turn.state.last_number == 0 and turn.state.phase is Phase.STARTING:
        turn.do(Announce(Phase.STARTING))
        turn.spawn()


def _reload(turn: Turn, _event: Event) -> None:
    state = turn.state
    if state.phase in (Phase.STOPPING, Phase.STOPPED):
        return
    if state.in_handover or state.pending:
        if state.queued is None:
            turn.state = replace(
                state, queued=state.last_handover + 1, last_handover=state.last_handover + 1
            )
        return
    turn.state = replace(state, last_handover=state.last_handover + 1)
    turn.begin_handover(turn.state.last_handover)


def _stop(turn: Turn, event: Event) -> None:
    assert isinstance(event, Stop)
    if turn.state.phase is Phase.STOPPED:
        return
    turn.state = replace(turn.state, respawn_at=None)
    turn.enter(Phase.STOPPING)
    for number in [g.number for g in turn.state.generations]:
        g = turn.state.get(number)
        if g is None or g.ending:
            continue
        if g.state is State.PENDING:
            turn.fail(g, STOPPING)
            g = turn.state.get(number) or g
        if g.ending:
            continue
        if event.now:
            turn.terminate(replace(g, hook_until=None), "stopping now")
        elif g.state in (State.RUNNING, State.PAUSED):
            turn.drain(g)
    turn.cancel_handovers()
    turn.quit_when_empty()


def _hurry(turn: Turn, _event: Event) -> None:
    """What drains has the kill timeout left, and gets its stop signal then."""
    if turn.state.phase is not Phase.STOPPING:
        return
    latest = turn.now + turn.state.policy.kill_timeout
    for g in turn.state.only(State.DRAINING):
        if g.drain_deadline is not None and g.drain_deadline > latest:
            turn.update(replace(g, drain_deadline=latest))


def _launch_failed(turn: Turn, event: Event) -> None:
    assert isinstance(event, LaunchFailed)
    g = turn.state.get(event.number)
    if g is not None and g.state is State.PENDING:
        turn.fail(replace(g, exit=Exit(code=2)), event.reason)


def _exited(turn: Turn, event: Event) -> None:
    assert isinstance(event, Exited)
    g = turn.state.get(event.number)
    if g is None or g.exit is not None:
        return
    g = replace(g, exit=event.exit)
    turn.update(g)
    if g.ending:
        # A shell, say, that did not pass the signal on: the rest hears it now.
        turn.do(Terminate(g.number))
        return
    # A clean end is no failure yet: a program that daemonises leaves its children behind.
    if event.exit.clean:
        return
    if g.state is State.PENDING:
        turn.fail(g, _early_end(g))
    elif g.state in (State.RUNNING, State.PAUSED):
        _forget_old_crashes(turn, g)
        turn.fail(g, f"the program {event.exit}")


def _early_end(g: Generation) -> str:
    reason = f"the program {g.exit} before it was ready"
    return f"{reason}: {g.refusal}" if g.refusal else reason


def _gone(turn: Turn, event: Event) -> None:
    assert isinstance(event, Gone)
    g = turn.state.get(event.number)
    if g is None:
        return
    turn.remove(g.number)
    handover = turn.state.handover
    if handover is not None and handover.predecessor == g.number:
        turn.state = replace(turn.state, handover=replace(handover, drained=True))
    exit = g.exit or Exit()
    g = replace(g, exit=event.failure if exit.clean and event.failure else exit)
    if g.state is State.PENDING:
        turn.lost(g, _early_end(g))
    elif g.state is State.DRAINING:
        turn.do(Drained(g.number))
    elif g.state in (State.RUNNING, State.PAUSED) and not g.ending:
        _ended_while_serving(turn, g)
    turn.quit_when_empty()


def _ended_while_serving(turn: Turn, g: Generation) -> None:
    """The last process of a running or paused generation is gone, and its first ended with 0."""
    assert g.exit is not None
    if not g.exit.clean:
        _forget_old_crashes(turn, g)
        turn.lost(g, f"the program {g.exit}")
    elif g.keep_until is not None:
        turn.do(Report(g.number, "the program ended by itself: no rollback goes back to it"))
    elif turn.state.in_handover:
        turn.lost(g, "the program ended by itself")
    else:
        message = "the program ended by itself, and so does the service"
        turn.do(Report(g.number, message, news=News.ENDED))
        turn.give_up(0)


def _forget_old_crashes(turn: Turn, g: Generation) -> None:
    if turn.now - g.since >= turn.state.policy.stable_after:
        turn.state = replace(turn.state, crashes=0)


def _census(turn: Turn, event: Event) -> None:
    assert isinstance(event, Census)
    g = turn.state.get(event.number)
    if g is None or g.state is not State.DRAINING or g.ending:
        return
    idle = 0 if event.busy or event.fresh else g.idle_samples + 1
    if idle >= IDLE_SAMPLES or (idle and event.settled):
        turn.terminate(g, actions.IDLE)
        return
    interval = turn.state.policy.census_interval if event.look_in is None else event.look_in
    turn.update(replace(g, idle_samples=idle, census_at=turn.now + interval))


def _tick(turn: Turn, _event: Event) -> None:
    if turn.state.respawn_at is not None and turn.state.respawn_at <= turn.now:
        turn.spawn()
    for number in [g.number for g in turn.state.generations]:
        for field, handler in _DEADLINES.items():
            # An earlier deadline may have changed the generation, or the whole service.
            g = turn.state.get(number)
            due = getattr(g, field, None)
            if g is not None and due is not None and due <= turn.now:
                handler(turn, g)


def _start_timed_out(turn: Turn, g: Generation) -> None:
    seconds = turn.state.policy.start_timeout
    reason = f"not ready within the start timeout of {seconds:g} s"
    turn.fail(g, f"{reason}: {g.hint}" if g.hint else reason)


def _gate_timed_out(turn: Turn, g: Generation) -> None:
    if g.gate is Gate.OPENING and turn.state.only(State.RUNNING) == (g,):
        trial.opens_late(turn, g)
        return
    seconds = turn.state.policy.gate_timeout
    gate_moved(
        turn, GateMoved(g.number, Gate.NONE, f"the program did not answer within {seconds:g} s")
    )


def _census_due(turn: Turn, g: Generation) -> None:
    turn.update(replace(g, census_at=None))
    turn.do(TakeCensus(g.number))


def _drain_timed_out(turn: Turn, g: Generation) -> None:
    seconds = turn.state.policy.drain_timeout
    hurried = turn.now < g.since + seconds
    reason = "its drain was cut short" if hurried else f"the drain timeout of {seconds:g} s is over"
    turn.terminate(g, reason)


def _kill_due(turn: Turn, g: Generation) -> None:
    # Again and again until Gone: a process may have been forked while the others were killed.
    turn.update(replace(g, kill_at=turn.now + KILL_AGAIN, killed=True))
    seconds = turn.state.policy.kill_timeout
    reason = "" if g.killed else f"still there {seconds:g} s after its stop signal"
    turn.do(Kill(g.number, reason))


_DEADLINES: dict[str, Callable[[Turn, Generation], None]] = {
    "start_deadline": _start_timed_out,
    "settle_at": readiness.settled,
    "gate_deadline": _gate_timed_out,
    "hook_until": hooks.late,
    "trial_until": trial.over,
    "keep_until": trial.keep_over,
    "census_at": _census_due,
    "drain_deadline": _drain_timed_out,
    "kill_at": _kill_due,
}

_HANDLERS: dict[type[Event], Callable[[Turn, Event], None]] = {
    Start: _start,
    Reload: _reload,
    Stop: _stop,
    Hurry: _hurry,
    Rollback: trial.rollback,
    Interest: readiness.interest,
    Observed: readiness.observed,
    Proven: readiness.proven,
    TrialPassed: trial.passed,
    TrialFailed: trial.failed,
    HookEnded: hooks.ended,
    LaunchFailed: _launch_failed,
    Exited: _exited,
    Gone: _gone,
    GateMoved: gate_moved,
    Census: _census,
    Tick: _tick,
}
