"""Which hooks are due after each step, and what waits for them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given, settings

from sockact.core.canary import schedule
from sockact.core.canary.progress import Plan
from sockact.core.canary.verdict import Unsure
from sockact.core.lifecycle import actions as do
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.hooks import Due, Hook, due
from sockact.core.lifecycle.machine import next_deadline, step
from sockact.core.lifecycle.model import Exit, Gate, Outcome, Phase, Policy, Service, State
from tests.unit.core.test_lifecycle_invariants import HISTORY, POLICIES

if TYPE_CHECKING:
    from sockact.core.lifecycle.actions import Action
    from sockact.core.lifecycle.events import Event

ALL = tuple(hook.value for hook in Hook)


class Story:
    """A service, the events it gets, and the hooks that are due."""

    def __init__(self, *events: Event, policy: Policy | None = None) -> None:
        self.state = Service(policy or Policy(hooks=ALL, hook_bound=10.0))
        self.now = 0.0
        self.asked: list[Action] = []
        self.due: list[tuple[str, int]] = []
        self.last = Due(Hook.PENDING, 0)
        self.tell(*events)

    def tell(self, *events: Event) -> Story:
        for event in events:
            before = self.state
            self.state, asked = step(before, event, self.now)
            self.asked = [*asked]
            for one in due(before, self.state, asked):
                self.due.append((one.event.value, one.number))
                self.last = one
        return self

    def at(self, now: float, *events: Event) -> Story:
        self.now = now
        return self.tell(*events)

    def new(self) -> list[tuple[str, int]]:
        found, self.due = self.due, []
        return found

    def outcome(self) -> tuple[Outcome, str]:
        assert self.state.handover
        return self.state.handover.outcome, self.state.handover.reason


SERVING = (on.Start(), on.Proven(1))
RELOADED = (*SERVING, on.Reload(), on.Proven(2), on.GateMoved(1, Gate.CLOSED))
COMMITTED = (*RELOADED, on.Tick(), on.HookEnded(2, "running"))


def test_a_start_and_a_stop() -> None:
    story = Story(*SERVING)
    assert story.new() == [("pending", 1), ("running", 1)]
    story.tell(on.Stop(), on.Gone(1))
    assert story.new() == [("draining", 1), ("drained", 1)]


def test_a_reload_waits_for_the_hook_of_its_successor() -> None:
    story = Story(*RELOADED, on.Tick())
    assert story.new()[2:] == [("pending", 2), ("running", 2)]
    assert story.outcome()[0] is Outcome.PENDING
    story.at(3.0, on.HookEnded(2, "running"))
    assert story.outcome()[0] is Outcome.COMMITTED
    assert story.new() == [("draining", 1)]


def test_a_hook_that_fails_takes_the_release_back() -> None:
    story = Story(*RELOADED)
    story.new()
    story.tell(on.HookEnded(2, "running", "exited with status 1"))
    assert story.outcome() == (Outcome.FAILED, "exited with status 1")
    assert do.MoveGate(1, closed=False) in story.asked
    assert story.new() == [("failed", 2), ("rolled_back", 1), ("draining", 2)]


def test_a_hook_without_an_outcome_has_failed() -> None:
    story = Story(*RELOADED, on.Tick())
    assert next_deadline(story.state) == 10.0
    story.at(10.0, on.Tick())
    assert story.outcome() == (Outcome.FAILED, "the hook did not end in time")


def test_a_trial_goes_on_after_its_hook() -> None:
    policy = Policy(hooks=ALL, trial=20.0, hook_bound=20.0)
    story = Story(*RELOADED, on.HookEnded(2, "running"), policy=policy)
    assert story.outcome()[0] is Outcome.PENDING
    story.at(20.0, on.Tick())
    assert story.outcome()[0] is Outcome.COMMITTED


def test_the_stop_signal_waits_for_the_hook() -> None:
    story = Story(*COMMITTED)
    story.tell(on.Census(1, 0, 0, 0, settled=True))
    assert story.asked == []
    assert next_deadline(story.state) == 10.0
    story.at(2.0, on.HookEnded(1, "draining", "exited with status 1"), on.Tick())
    assert story.asked == [do.TakeCensus(1)]
    story.tell(on.Census(1, 0, 0, 0, settled=True))
    assert story.asked == [do.Terminate(1, do.IDLE)]


def test_a_drain_timeout_waits_for_the_hook_but_no_stop_now() -> None:
    policy = Policy(hooks=ALL, drain_timeout=5.0, hook_bound=20.0)
    story = Story(*COMMITTED, policy=policy)
    story.at(5.0, on.Tick())
    assert story.asked == [do.TakeCensus(1)]
    other = Story(policy=policy)
    other.state, other.now = story.state, 6.0
    other.tell(on.Stop(now=True))
    assert do.Terminate(1, "stopping without a drain") in other.asked
    story.at(20.0, on.Tick())
    assert do.Terminate(1, "the drain timeout of 5 s expired") in story.asked


def test_a_rollback_and_a_crash() -> None:
    story = Story(*COMMITTED)
    story.new()
    story.tell(on.Rollback(), on.GateMoved(1, Gate.OPEN))
    assert story.new() == [("rolled_back", 1), ("draining", 2)]
    story.tell(on.Exited(1, Exit(code=3)), on.Gone(1))
    assert story.new() == [("failed", 1), ("pending", 3)]


def test_a_generation_that_never_served_only_has_failed_hooks() -> None:
    story = Story(*SERVING, on.Reload(), on.Exited(2, Exit(code=1)), on.Gone(2))
    assert story.new()[2:] == [("pending", 2), ("failed", 2)]
    story = Story(on.Start(), on.Stop(), on.Gone(1))
    assert story.new() == [("pending", 1), ("failed", 1)]


def test_a_failed_hook_of_the_first_launch_changes_nothing() -> None:
    story = Story(*SERVING)
    before = story.state
    story.tell(on.HookEnded(1, "running", "exited with status 1"))
    assert (story.state, story.asked) == (before, [])


def test_a_canary_is_told_each_share() -> None:
    plan = Plan(schedule.parse("1% 5s, 50% 10s"), unsure=Unsure.PROMOTE)
    policy = Policy(hooks=ALL, private_trial=True, plan=plan)
    story = Story(*SERVING, on.Reload(), on.Proven(2), on.HookEnded(2, "running"), policy=policy)
    assert story.new()[2:] == [("pending", 2), ("running", 2)]
    story.tell(on.Tick())
    assert story.new() == [("canary", 2)]
    assert (story.last.share, story.last.step) == (10, (1, 2))
    story.at(6.0, on.Tick(), on.Tick())
    assert story.new() == [("canary", 2)]
    assert (story.last.share, story.last.step) == (500, (2, 2))
    back = Story(policy=policy)
    back.state, back.now = story.state, story.now
    story.tell(on.Share(250), on.Share(250))
    assert story.new() == [("canary", 2)]
    assert (story.last.share, story.last.step) == (250, (2, 2))
    story.tell(on.Promote())
    assert story.new() == [("draining", 1), ("canary", 2)]
    assert (story.last.share, story.last.step) == (1000, None)
    back.tell(on.Rollback())
    assert back.new() == [("failed", 2), ("draining", 2)]


def test_a_canary_that_gets_all_clients_because_the_other_died() -> None:
    policy = Policy(hooks=ALL, plan=Plan(schedule.parse("1% 5s")))
    story = Story(*SERVING, on.Reload(), on.Proven(2), policy=policy)
    story.tell(on.GateMoved(1, Gate.CLOSED), on.HookEnded(2, "running"), on.Tick())
    assert story.new()[-1] == ("canary", 2)
    story.tell(on.Exited(1, Exit(code=1)))
    assert ("canary", 2) in story.new()
    assert story.outcome()[0] is Outcome.COMMITTED


@settings(max_examples=300, deadline=None)
@given(HISTORY, POLICIES)
def test_each_generation_starts_and_ends_once(
    history: list[tuple[Event, float]], policy: Policy
) -> None:
    story = Story(on.Start(), policy=policy)
    for event, pause in history:
        story.at(story.now + pause, event)
    seen = Counter(story.due)
    for number in range(1, story.state.last_number + 1):
        of = {event: seen[event, number] for event in ALL}
        assert of["pending"] == 1
        assert max(of["running"], of["drained"]) <= 1
        assert of["running"] >= max(of["drained"], min(1, of["draining"]))
        if story.state.get(number) is None and story.state.phase is not Phase.STOPPED:
            assert of["drained"] or of["failed"], "whatever began is told to have ended"
        events = [event for event, one in story.due if one == number]
        assert events[0] == "pending"
        if "drained" in events:
            assert events[-1] == "drained"
    assert not [g for g in story.state.only(State.DRAINING) if g.hook_until and g.ending]
