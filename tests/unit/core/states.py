"""A service in each of its states, for tests of what every state must stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockact.core.canary import schedule
from sockact.core.canary.progress import Plan
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.machine import step
from sockact.core.lifecycle.model import Exit, Gate, Phase, Policy, Ready, Service, State

if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event

PLAN = Plan(schedule.parse("1% 5s, 50% 10s"), timeout=20.0)


def every_state() -> list[Service]:
    """A service in each phase, with a generation in each state and with each gate."""
    found: list[Service] = []
    stories: list[list[Event]] = [
        [],
        [on.Start()],
        [on.Start(), on.Interest(1)],
        [on.Start(), on.Proven(1)],
        [on.Start(), on.Proven(1), on.Reload()],
        [on.Start(), on.Proven(1), on.Reload(), on.Reload()],
        [on.Start(), on.Proven(1), on.Reload(), on.Proven(2)],
        [on.Start(), on.Proven(1), on.Reload(), on.Proven(2), on.GateMoved(1, Gate.CLOSED)],
        [on.Start(), on.Proven(1), on.Exited(1, Exit(code=1))],
        [on.Start(), on.Proven(1), on.Exited(1, Exit(code=1)), on.Exited(2, Exit(code=1))],
        [on.Start(), on.Proven(1), on.Stop()],
        [on.Start(), on.Proven(1), on.Reload(), on.Stop()],
        [on.Start(), on.Stop(), on.Gone(1)],
    ]
    for story in stories:
        state = Service(Policy(ready=Ready.PROBE))
        for event in story:
            state, _ = step(state, event, 0.0)
        found.append(state)
    paused = found[4]
    more: list[Event] = [on.Interest(2), on.Tick()]
    for now, event in enumerate(more):
        paused, _ = step(paused, event, float(now))
    found.append(paused)
    serving, _ = step(found[1], on.Proven(1), 0.0)
    found += [*warm_ups(), *trials(), *waiting_for_hooks(), *canaries()]
    found += paused_by_the_operator(serving, 0.0)
    assert {s.phase for s in found} == set(Phase)
    states = {g.state for s in found for g in s.generations}
    assert states == set(State)
    return found


def warm_ups() -> list[Service]:
    """A successor that is warmed up: with a predecessor that serves, and one that was paused."""
    found = []
    for ready in (Ready.NOTIFY, Ready.PROBE):
        state = Service(Policy(ready=ready, warm=30.0, trial=20.0))
        story: list[Event] = [on.Start(), on.Proven(1), on.Reload(), on.Interest(2), on.Tick()]
        for now, event in enumerate([*story, on.GateMoved(1, Gate.CLOSED), on.Proven(2)]):
            state, _ = step(state, event, float(now))
        assert state.warming is not None
        found.append(state)
    return found


def trials() -> list[Service]:
    """A successor on trial with its predecessor closing and closed, and one that is kept."""
    policy = Policy(trial=20.0, probed=True, keep_predecessor=60.0)
    state = Service(policy)
    found = []
    for event in (on.Start(), on.Proven(1), on.Reload(), on.Proven(2)):
        state, _ = step(state, event, 0.0)
    found.append(state)
    state, _ = step(state, on.GateMoved(1, Gate.CLOSED), 0.0)
    found.append(state)
    state, _ = step(state, on.TrialPassed(2), 1.0)
    state, _ = step(state, on.Tick(), 20.0)
    found.append(state)
    assert state.kept is not None
    going_back, _ = step(state, on.Rollback(), 21.0)
    return [*found, going_back]


def canaries() -> list[Service]:
    """A private trial, the canary after it, and one that the operator holds."""
    state = Service(Policy(trial=20.0, private_trial=True, plan=PLAN))
    found = []
    story: list[Event] = [on.Start(), on.Proven(1), on.Reload(), on.Proven(2), on.Tick()]
    for now, event in enumerate(story):
        state, _ = step(state, event, 10.0 * now)
        found.append(state)
    assert found[3].on_trial is not None
    assert found[4].on_trial is not None
    state, _ = step(found[4], on.Tick(), 55.0)
    assert state.canary is not None
    held, _ = step(state, on.Share(250), 56.0)
    assert held.canary is not None
    assert held.canary.progress.held
    return [found[3], state, held, *paused_by_the_operator(state, 60.0)]


def paused_by_the_operator(serving: Service, now: float) -> list[Service]:
    """A service that is about to pause, that is paused, and whose generation has crashed then."""
    closing, _ = step(serving, on.Pause(30.0), now)
    closed = closing
    for g in closing.only(State.RUNNING):
        closed, _ = step(closed, on.GateMoved(g.number, Gate.CLOSED), now)
    assert closed.pause is not None
    assert closed.pause.complete
    crashed, _ = step(closed, on.Exited(1, Exit(code=1)), now)
    return [closing, closed, crashed]


def waiting_for_hooks() -> list[Service]:
    """A trial and the end of a drain that wait only for a hook."""
    state = Service(Policy(hooks=("running", "draining")))
    story = (on.Start(), on.Proven(1), on.Reload(), on.Proven(2), on.GateMoved(1, Gate.CLOSED))
    for event in (*story, on.Tick()):
        state, _ = step(state, event, 0.0)
    assert state.on_trial is not None
    assert state.on_trial.trial_over
    drains, _ = step(state, on.HookEnded(2, "running"), 0.0)
    deadline = drains.generations[0].drain_deadline
    assert deadline is not None
    return [state, step(drains, on.Tick(), deadline)[0]]
