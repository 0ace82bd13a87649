"""The life of a service, as one pure function: step(state, event, now) -> (state, actions).

Theory of operation
===================

A service has at most one generation that should serve (running, or paused while its successor is
probed before it is ready), at most one that is pending, and a limited number that drain. While its
successor is on trial, or for a while after the commit, a predecessor is paused: it can be brought
back by opening its gate.

    pending ──ready──▶ running ──reload──▶ draining ──no busy or fresh one───▶ SIGTERM ──▶ drained
       │                │    ▲                │ ▲                                 ▲  │
       │                ▼    │ successor      │ └─ commit, or no longer kept      │  └ kill timeout
       │               paused  failed ────────┘                                   │    ▶ SIGKILL
       ▼                                      └────────── drain timeout ──────────┘
     failed ◀── died, or not ready in time

A successor that is ready is warmed up, if that is asked for, while its predecessor serves. Then it
is on trial, or a canary, or gets all clients.

A generation is listed until the last of its processes has ended (Gone), never less. Its first
process may end earlier (Exited).

A handover is one reload, or one rollback. It is pending until its successor is running (committed)
or has failed; either way exactly one Finish is emitted for it. A reload that is asked for meanwhile
is queued once, for all who ask.

Time comes in as `now`. A deadline is a field of the state, `next_deadline` tells the earliest, and
a timeout is a Tick that finds a deadline passed. Nothing here waits.

While the operator has paused the service, the gates of running generations are closed, and nothing
is launched.

An event about a generation that is not listed, or in a state where the event has no meaning, is
late news: it changes nothing.
"""

from __future__ import annotations

from sockact.core.lifecycle import canary, crash, handover, hooks, pause, readiness, stop, trial
from sockact.core.lifecycle.actions import Announce
from sockact.core.lifecycle.events import (
    Census,
    Event,
    Exited,
    Explained,
    GateMoved,
    Gone,
    HookEnded,
    Hurry,
    Interest,
    Judged,
    LaunchFailed,
    Observed,
    Pause,
    Promote,
    Proven,
    Reload,
    Resume,
    Rollback,
    Share,
    Start,
    Stop,
    Tick,
    TrialFailed,
    TrialPassed,
    Unreachable,
    Warmed,
    Warming,
)
from sockact.core.lifecycle.model import Gate, Generation, Phase, Service
from sockact.core.lifecycle.transition import Transition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.lifecycle.actions import Action


def step(state: Service, event: Event, now: float) -> tuple[Service, tuple[Action, ...]]:
    """The next state of the service after `event`, and the actions that the supervisor performs, in
    this order. `now` is CLOCK_MONOTONIC in seconds.
    """
    transition = Transition(state, now)
    _HANDLERS[type(event)](transition, event)
    pause.follow(transition)
    return transition.state, tuple(transition.actions)


def next_deadline(state: Service) -> float | None:
    """When the next Tick is due (CLOCK_MONOTONIC in seconds), or None."""
    times = [state.respawn_at]
    if state.pause is not None and state.is_paused:
        times.append(state.pause.until)
    times += [getattr(g, field) for g in state.generations for field in _DEADLINES]
    return min((t for t in times if t is not None), default=None)


def in_progress(state: Service) -> str:
    """What has to end before another version of the supervisor can take over; "" for nothing.

    The next version gets the state alone. So nothing may be in progress that only the running code
    knows of: a launch, a probe, a gate that moves. A drain may be: it is in the state, and in the
    kernel. A warm-up begins anew.
    """
    if state.phase is Phase.STARTING:
        return "the service is starting"
    if state.phase in (Phase.STOPPING, Phase.STOPPED):
        return stop.STOPPING
    beside = state.canary is not None or state.warming is not None
    if state.handover is not None and state.in_handover and not beside:
        return f"a {'rollback' if state.handover.rollback else 'reload'} is in progress"
    if state.pending is not None:
        return f"generation {state.pending.number} is starting"
    for g in state.generations:
        if g.gate in (Gate.CLOSING, Gate.OPENING):
            change = "stop" if g.gate is Gate.CLOSING else "resume"
            return f"generation {g.number} is about to {change} accepting connections"
    return ""


def _start(step: Transition, _event: Event) -> None:
    if step.state.last_number == 0 and step.state.phase is Phase.STARTING:
        step.do(Announce(Phase.STARTING))
        step.spawn()


def _tick(step: Transition, _event: Event) -> None:
    paused = step.state.pause
    if paused is not None and step.state.is_paused and paused.until <= step.now:
        pause.over(step)
    if step.state.respawn_at is not None and step.state.respawn_at <= step.now:
        step.spawn()
    for number in [g.number for g in step.state.generations]:
        for field, handler in _DEADLINES.items():
            # An earlier deadline may have changed the generation, or the whole service.
            g = step.state.get(number)
            due = getattr(g, field, None)
            if g is not None and due is not None and due <= step.now:
                handler(step, g)


_DEADLINES: dict[str, Callable[[Transition, Generation], None]] = {
    "start_deadline": readiness.timed_out,
    "settle_at": readiness.settled,
    "gate_deadline": trial.gate_timed_out,
    "hook_until": hooks.timed_out,
    "warm_until": handover.warm_up_over,
    "trial_until": trial.over,
    "canary_until": canary.due,
    "keep_until": trial.keep_over,
    "census_at": stop.count_due,
    "drain_deadline": stop.drain_timed_out,
    "kill_at": stop.kill_due,
}

_HANDLERS: dict[type[Event], Callable[[Transition, Event], None]] = {
    Start: _start,
    Reload: handover.reload,
    Stop: stop.stop,
    Hurry: stop.hurry,
    Rollback: trial.rollback,
    Pause: pause.pause,
    Resume: pause.resume,
    Interest: readiness.interest,
    Observed: readiness.observed,
    Proven: readiness.proven,
    Warming: handover.warming,
    Warmed: handover.warmed,
    TrialPassed: trial.passed,
    TrialFailed: trial.failed,
    Judged: canary.judged,
    Promote: canary.promote,
    Share: canary.share,
    Explained: handover.explained,
    HookEnded: hooks.ended,
    LaunchFailed: crash.launch_failed,
    Unreachable: crash.unreachable,
    Exited: crash.exited,
    Gone: crash.gone,
    GateMoved: trial.gate_moved,
    Census: stop.counted,
    Tick: _tick,
}
