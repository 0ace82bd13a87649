"""The lifecycle under every event in every state, and under long random histories."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockact.core.canary.verdict import Judgement, Verdict
from sockact.core.lanes.target import target
from sockact.core.lifecycle import actions as do
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.machine import next_deadline, step
from sockact.core.lifecycle.model import (
    Exit,
    Gate,
    Generation,
    Outcome,
    Phase,
    Policy,
    Ready,
    Service,
    State,
)
from tests.unit.core.states import PLAN, every_state

if TYPE_CHECKING:
    from sockact.core.lifecycle.actions import Action
    from sockact.core.lifecycle.events import Event

NUMBERS = st.integers(1, 6)
EXITS = st.sampled_from([Exit(), Exit(code=1), Exit(signal=9)])
EVENTS: dict[type[Event], st.SearchStrategy[Event]] = {
    on.Start: st.just(on.Start()),
    on.Reload: st.builds(on.Reload, st.sampled_from([None, PLAN])),
    on.Stop: st.builds(on.Stop, st.booleans()),
    on.Hurry: st.just(on.Hurry()),
    on.Rollback: st.just(on.Rollback()),
    on.Pause: st.builds(on.Pause, st.sampled_from([1.0, 20.0])),
    on.Resume: st.just(on.Resume()),
    on.Promote: st.just(on.Promote()),
    on.Share: st.builds(on.Share, st.sampled_from([0, 250, 1000])),
    on.Judged: st.builds(
        on.Judged, NUMBERS, st.builds(Judgement, st.sampled_from(Verdict), st.just(("figures",)))
    ),
    on.Interest: st.builds(on.Interest, NUMBERS),
    on.Observed: st.builds(
        on.Observed,
        NUMBERS,
        st.booleans(),
        st.just("hint"),
        misplaced=st.booleans(),
        hopeless=st.booleans(),
    ),
    on.Proven: st.builds(on.Proven, NUMBERS),
    on.Warming: st.builds(on.Warming, NUMBERS, st.just("9 requests")),
    on.Warmed: st.builds(on.Warmed, NUMBERS, st.sampled_from(["", "no process left"])),
    on.TrialPassed: st.builds(on.TrialPassed, NUMBERS),
    on.TrialFailed: st.builds(on.TrialFailed, NUMBERS, st.just("status 500")),
    on.LaunchFailed: st.builds(on.LaunchFailed, NUMBERS, st.just("no such file")),
    on.Unreachable: st.builds(on.Unreachable, NUMBERS, st.just("it was shut down")),
    on.Exited: st.builds(on.Exited, NUMBERS, EXITS),
    on.Gone: st.builds(on.Gone, NUMBERS),
    on.GateMoved: st.builds(on.GateMoved, NUMBERS, st.sampled_from(Gate)),
    on.Census: st.builds(on.Census, NUMBERS, *[st.integers(0, 2)] * 3),
    on.Explained: st.builds(on.Explained, NUMBERS, st.just("it wrote why")),
    on.HookEnded: st.builds(
        on.HookEnded, NUMBERS, st.sampled_from(["running", "draining"]), st.sampled_from(["", "x"])
    ),
    on.Tick: st.just(on.Tick()),
}
HISTORY = st.lists(
    st.tuples(st.one_of(*EVENTS.values()), st.floats(0, 30)), min_size=1, max_size=60
)
# Every kind of readiness, with and without a warm-up, a trial, its probe, and a kept predecessor.
POLICIES = st.builds(
    Policy,
    ready=st.sampled_from(Ready),
    warm=st.sampled_from([0.0, 10.0]),
    trial=st.sampled_from([0.0, 20.0]),
    private_ready=st.booleans(),
    private_trial=st.booleans(),
    plan=st.sampled_from([None, PLAN]),
    probed=st.booleans(),
    keep_predecessor=st.sampled_from([0.0, 60.0]),
    max_draining=st.sampled_from([1, 4]),
    hooks=st.sampled_from([(), ("running",), ("draining",), ("running", "draining")]),
)

SERVES = (State.PENDING, State.RUNNING, State.PAUSED)


def test_every_event_has_a_strategy() -> None:
    assert set(EVENTS) == set(get_args(on.Event))


def check(before: Service, after: Service, asked: tuple[Action, ...]) -> None:
    """The invariants of every state."""
    paused = after.only(State.PAUSED)
    if after.canary is not None:
        assert after.in_handover
        assert after.handover is not None
        assert after.get(after.handover.successor) in after.only(State.RUNNING)
    running = [g for g in after.only(State.RUNNING) if not g.ending]
    if len(running) > 1:
        check_beside(after, running)
    assert len([g for g in paused if g.keep_until is None]) <= 1
    assert len([g for g in paused if g.keep_until is not None]) <= 1
    draining = [
        g for g in after.only(State.DRAINING) if g.finishing or not (g.ending or g.stop_for)
    ]
    assert len(draining) <= after.policy.max_draining or after.phase is Phase.STOPPING
    assert len(after.only(State.PENDING)) <= 1
    assert len({g.number for g in after.generations}) == len(after.generations)
    spawned = [a.number for a in asked if isinstance(a, do.Spawn)]
    assert len(spawned) <= 1, "one step launches one generation at the most"
    assert all(number > before.last_number for number in spawned)
    for g in after.generations:
        if g.trial_until is not None:
            assert (g.state, after.in_handover) == (State.RUNNING, True)
        if g.warm_until is not None:
            assert (g.state, after.in_handover) == (State.RUNNING, True)
            assert after.predecessor is not None, "somebody else serves meanwhile"
            assert (g.trial_until, g.introduced, after.canary) == (None, False, None)
            assert target(after) == after.predecessor.number, "no client reaches it"
        if g.canary_until is not None:
            assert (g.state, after.canary is None) == (State.RUNNING, False)
        if g.keep_until is not None:
            assert g.state is State.PAUSED
        elif g.state is State.PAUSED and not g.ending:
            assert after.in_handover, "nobody is paused for nothing"
        if g.finishing:
            assert (g.state, g.ending) == (State.DRAINING, True)
            latest = g.since + after.policy.drain_timeout + after.policy.kill_timeout
            assert g.kill_at is not None, "nothing finishes without a deadline"
            assert g.kill_at <= latest, "its connections have the drain timeout, and no more"
        if g.ending:
            assert g.finishing or g.census_at is None
            assert g.drain_deadline is None
            assert g.hook_until is None
        if g.hook_until is not None:
            assert g.state is State.DRAINING or g.trial_until is not None, "nobody waits else"
        if g.stop_for and not g.ending:
            assert g.hook_until is not None, "it is to end, and only waits for its hook"
        if g.state is State.PENDING:
            assert g.start_deadline is not None, "nothing waits without a deadline"
        if g.state is State.DRAINING and not g.ending:
            due = g.hook_until if g.stop_for else g.drain_deadline
            assert due is not None, "nothing drains without a deadline"
            assert g.gate in (Gate.CLOSING, Gate.CLOSED, Gate.NONE), "nobody new while it drains"
        if g.state is State.RUNNING and not g.ending:
            shut = (Gate.CLOSING, Gate.CLOSED)
            wanted = shut if after.is_paused else (Gate.OPEN, Gate.OPENING)
            assert g.gate in wanted, "clients reach whoever runs, unless the operator pauses it"
        if g.gate is Gate.CLOSING and not g.ending:
            assert g.gate_deadline is not None, "no order waits without a deadline"
    if after.is_paused:
        assert after.pause is not None
        assert after.phase not in (Phase.STOPPING, Phase.STOPPED)
        assert not spawned, "nothing is launched that would accept"
        assert next_deadline(after) is not None, "no pause lasts for ever"
        complete = all(g.gate is Gate.CLOSED for g in after.only(State.RUNNING))
        assert after.pause.complete is complete
    assert sum(isinstance(a, do.EndPause) for a in asked) == (
        before.is_paused and not after.is_paused
    )
    if before.phase is Phase.STOPPING:
        assert after.phase in (Phase.STOPPING, Phase.STOPPED)
        assert not spawned, "nothing is launched while the service stops"
    if after.phase is Phase.STOPPING:
        assert not [g for g in after.generations if g.state in SERVES and not g.ending]
    if after.phase is Phase.STOPPED:
        assert not after.generations
    if after.phase in (Phase.SERVING, Phase.RELOADING) and not after.in_handover:
        assert after.serving is not None, "SERVING is only said when somebody serves"


def check_beside(after: Service, running: list[Generation]) -> None:
    """The invariants of two generations that are running."""
    handover = after.handover
    assert handover is not None
    assert after.in_handover
    both = [handover.predecessor, handover.successor]
    if not handover.rollback:
        assert [g.number for g in running] == both
        tried = running[1].trial_until is not None or running[1].warm_until is not None
        assert tried or after.canary is not None, "nobody serves beside another for nothing"
        return
    assert [g.number for g in running] == both[::-1]
    assert running[0].gate is Gate.OPENING, "who is rolled back serves no longer than that"
    assert running[0].gate_deadline is not None, "and that does not wait without a deadline"


def somebody_cares(after: Service) -> None:
    """A living service serves, launches, or is about to launch."""
    if after.phase not in (Phase.STOPPING, Phase.STOPPED) and after.last_number:
        assert after.serving or after.pending or after.respawn_at is not None


@settings(max_examples=400, deadline=None)
@given(HISTORY, POLICIES)
def test_invariants_hold_in_every_history(
    history: list[tuple[Event, float]], policy: Policy
) -> None:
    now = 0.0
    state, asked = step(Service(policy), on.Start(), now)
    finished: list[int] = []
    for event, pause in history:
        now += pause
        before = state
        state, asked = step(before, event, now)
        check(before, state, asked)
        somebody_cares(state)
        finished += [a.handover.id for a in asked if isinstance(a, do.Finish)]
        quits = [a for a in asked if isinstance(a, do.Quit)]
        assert len(quits) == (before.phase is not Phase.STOPPED and state.phase is Phase.STOPPED)
    assert len(finished) == len(set(finished)), "each handover ends once"
    assert all(identity <= state.last_handover for identity in finished)


@settings(max_examples=200, deadline=None)
@given(HISTORY, POLICIES)
def test_a_stop_needs_only_ticks_to_kill_everything(
    history: list[tuple[Event, float]], policy: Policy
) -> None:
    """A stopping service has signalled every generation when its deadlines are over."""
    now = 0.0
    state, _ = step(Service(policy), on.Start(), now)
    for event, pause in history:
        now += pause
        state, _ = step(state, event, now)
    state, _ = step(state, on.Stop(), now)
    for _ in range(50):
        due = next_deadline(state)
        if due is None:
            break
        now = max(now, due)
        state, asked = step(state, on.Tick(), now)
        for number in [a.number for a in asked if isinstance(a, do.Kill)]:
            state, _ = step(state, on.Gone(number), now)
    assert state.phase is Phase.STOPPED


@pytest.mark.parametrize("state", every_state(), ids=lambda s: f"{s.phase.value}-{s.last_number}")
def test_every_state_takes_every_event(state: Service) -> None:
    samples: list[Event] = [
        on.Start(),
        on.Reload(),
        on.Stop(),
        on.Stop(now=True),
        on.Hurry(),
        on.Rollback(),
        on.Pause(20.0),
        on.Resume(),
        on.Promote(),
        on.Share(500),
        on.Tick(),
        *(
            on.Judged(number, Judgement(verdict, ("figures",)))
            for number in (1, 2, 9)
            for verdict in Verdict
        ),
        *(kind(number) for kind in (on.Interest, on.Proven, on.Gone) for number in (1, 2, 9)),
        *(on.Observed(number, bound=True, hint="") for number in (1, 2, 9)),
        *(on.LaunchFailed(number, "reason") for number in (1, 2, 9)),
        *(on.Unreachable(number, "reason") for number in (1, 2, 9)),
        *(on.Warming(number, "9 requests") for number in (1, 2, 9)),
        *(on.Warmed(number, "reason") for number in (1, 2, 9)),
        *(on.TrialPassed(number) for number in (1, 2, 9)),
        *(
            on.HookEnded(number, name, "")
            for number in (1, 2, 9)
            for name in ("running", "draining")
        ),
        *(on.TrialFailed(number, "reason") for number in (1, 2, 9)),
        *(on.Explained(number, "reason") for number in (1, 2, 9)),
        *(on.Exited(number, Exit(code=c)) for number in (1, 2, 9) for c in (0, 1)),
        *(on.GateMoved(number, gate) for number in (1, 2, 9) for gate in Gate),
        *(on.Census(number, busy, 0, 0) for number in (1, 2, 9) for busy in (0, 1)),
    ]
    assert {type(sample) for sample in samples} == set(get_args(on.Event))
    for event in samples:
        after, asked = step(state, event, 2.0)
        check(state, after, asked)
        number = getattr(event, "number", None)
        if number is not None and state.get(number) is None:
            assert (after, asked) == (state, ()), "late news changes nothing"


def test_handover_is_pending_until_its_one_outcome() -> None:
    assert [o for o in Outcome if o is not Outcome.PENDING] == [Outcome.COMMITTED, Outcome.FAILED]
    assert "deadline" not in set(Service.__match_args__), "deadlines belong to generations"
