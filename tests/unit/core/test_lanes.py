"""Which generation gets which lane, and who gets new clients."""

from __future__ import annotations

import pytest

from sockact.core.lanes import lending
from sockact.core.lanes.target import share_of, shares, target
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.machine import step
from sockact.core.lifecycle.model import (
    Exit,
    Gate,
    Generation,
    Handover,
    Outcome,
    Policy,
    Ready,
    Service,
    State,
)
from sockact.core.record import replace
from tests.unit.core.states import PLAN

RUNS, WAITS, DRAINS = State.RUNNING, State.PENDING, State.DRAINING


def service(*states: State, **last: object) -> Service:
    """Generations 1, 2 … in these states; `last` are further fields of the last one."""
    found = [Generation(number, state, 0.0) for number, state in enumerate(states, 1)]
    if found and last:
        found[-1] = Generation(len(states), states[-1], 0.0, **last)  # type: ignore[arg-type]
    return Service(Policy(), generations=tuple(found))


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        (service(), None),
        (service(DRAINS), None),
        (service(WAITS), 1),
        (service(RUNS), 1),
        (service(RUNS, WAITS), 1),
        (service(DRAINS, RUNS), 2),
        # A crash, and a launch after it.
        (service(DRAINS, State.FAILED, WAITS), 3),
        # A probe or a trial that needs the clients.
        (service(State.PAUSED, WAITS), 2),
        (service(State.PAUSED, RUNS, trial_until=9.0), 2),
        # A trial beside the predecessor.
        (service(RUNS, RUNS, trial_until=9.0), 1),
    ],
)
def test_who_gets_new_clients(state: Service, wanted: int | None) -> None:
    assert target(state) == wanted


def test_a_rollback_moves_the_clients_at_once() -> None:
    """The bad release serves until the gate of the good one is open: until it is steered to."""
    good = Generation(1, RUNS, 0.0, gate=Gate.OPENING)
    assert target(Service(Policy(), generations=(good, Generation(2, RUNS, 0.0)))) == 1


def test_a_canary_gets_its_share_and_its_predecessor_the_rest() -> None:
    state = canary()
    assert (target(state), shares(state)) == (1, ((2, 10),))
    assert (share_of(state, 2), share_of(state, 1)) == (10, None)


def canary(**policy: float) -> Service:
    """Generation 2 is a canary beside generation 1."""
    state, _ = step(Service(Policy(**policy)), on.Start(), 0.0)  # type: ignore[arg-type]
    for event in (on.Proven(1), on.Reload(PLAN), on.Proven(2)):
        state, _ = step(state, event, 1.0)
    assert state.canary is not None
    return state


def test_a_queued_reload_changes_no_client_of_a_canary() -> None:
    before = canary()
    after, _ = step(before, on.Reload(), 2.0)
    assert before.handover is not None
    assert after.handover is not None
    assert after.handover.id == before.handover.id
    assert shares(after) == shares(before)


def test_the_plan_of_a_reload_that_joins_a_queued_one() -> None:
    state, _ = step(canary(), on.Reload(), 2.0)
    assert state.queued_plan is None
    state, _ = step(state, on.Reload(PLAN), 3.0)
    assert state.queued_plan == PLAN


def test_the_crash_of_a_kept_generation_promotes_nobody() -> None:
    state, _ = step(Service(Policy(keep_predecessor=600.0)), on.Start(), 0.0)
    story = (on.Proven(1), on.Reload(), on.Proven(2), on.Reload(PLAN), on.Proven(3))
    for event in story:
        state, _ = step(state, event, 1.0)
    assert state.kept is not None
    assert state.kept.number == 1
    state, _ = step(state, on.Exited(1, Exit(signal=9)), 2.0)
    assert state.canary is not None
    assert state.in_handover
    assert target(state) == 2


def test_a_canary_needs_a_lane_of_its_own() -> None:
    state, _ = step(Service(Policy()), on.Start(), 0.0)
    story = (
        on.Proven(1),
        on.Reload(PLAN),
        on.Observed(2, bound=True, hint="", alone=False),
        on.Proven(2),
    )
    for event in story:
        state, _ = step(state, event, 1.0)
    assert state.canary is None
    assert state.handover is not None
    assert state.handover.outcome is Outcome.FAILED
    assert "no lane is free" in state.handover.reason
    assert [g.number for g in state.only(State.RUNNING)] == [1]


@pytest.mark.parametrize(
    ("state", "lent", "steered", "wanted"),
    [
        # The first launch of all, and one after the lanes of an earlier life.
        (service(WAITS), {}, 0, 0),
        (service(WAITS), {}, 2, 2),
        # A reload gets the first lane that is free.
        (service(RUNS, WAITS), {1: 0}, 0, 1),
        (service(DRAINS, RUNS, WAITS), {1: 0, 2: 1}, 1, 2),
        (service(State.PAUSED, WAITS), {1: 1}, 1, 0),
        # After a crash, clients wait in the lane of the one that has crashed.
        (service(DRAINS, State.FAILED, WAITS), {1: 0, 2: 1}, 1, 1),
        (service(DRAINS, WAITS), {1: 0}, 1, 1),
        # Too many drain: share the listener of the one that serves.
        (service(DRAINS, DRAINS, RUNS, WAITS), {1: 0, 2: 1, 3: 2}, 2, 2),
    ],
)
def test_which_lane_is_lent(
    state: Service, lent: dict[int, int], steered: int, wanted: int
) -> None:
    assert lending.choose(state, lent, steered, count=3) == wanted


GIVEN_UP = Handover(1, 0.0, 1, 2, gives_up=True)
TRIED = (
    Policy(trial=9.0),
    Policy(hooks=("running",)),
    Policy(trial=9.0, private_ready=True, ready=Ready.PROBE),
    Policy(ready=Ready.PROBE),
)
PRIVATE = (
    Policy(),
    Policy(trial=9.0, private_trial=True),
    Policy(ready=Ready.PROBE, private_ready=True),
)


def chosen(state: Service, *, moves: bool = False, strict: bool = False) -> int:
    return lending.choose(state, {1: 0}, 0, 3, moves=moves, strict=strict)


@pytest.mark.parametrize("policy", TRIED)
def test_clients_of_a_successor_that_is_not_proven(policy: Policy) -> None:
    """They must not be lost if it is taken back."""
    state = replace(service(RUNS, WAITS), policy=policy)
    assert chosen(state) == 0
    assert chosen(state, moves=True) == 1
    assert chosen(state, strict=True) == 1
    assert chosen(replace(state, plan=PLAN)) == 1


@pytest.mark.parametrize("policy", PRIVATE)
def test_a_successor_that_gets_no_clients_before_it_is_proven(policy: Policy) -> None:
    assert chosen(replace(service(RUNS, WAITS), policy=policy)) == 1


def test_the_clients_of_one_that_does_not_serve() -> None:
    state = replace(service(RUNS, WAITS), handover=GIVEN_UP)
    assert chosen(state) == chosen(state, strict=True) == 0
    assert chosen(state, moves=True) == 1
    assert chosen(replace(state, handover=replace(GIVEN_UP, outcome=Outcome.COMMITTED))) == 1


def test_one_that_does_not_serve_is_replaced_without_a_canary() -> None:
    state, _ = step(Service(Policy(plan=PLAN)), on.Start(), 0.0)
    for event in (on.Proven(1), on.Reload(gives_up=True)):
        state, _ = step(state, event, 1.0)
    assert state.handover is not None
    assert (state.handover.gives_up, state.plan) == (True, None)


def test_who_has_a_lane_alone() -> None:
    lent = {1: 0, 2: 1, 3: 1}
    assert [lending.is_alone(number, lent) for number in (1, 2, 3, 4)] == [
        True,
        False,
        False,
        False,
    ]
