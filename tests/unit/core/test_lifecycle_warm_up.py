"""A successor is warmed up before it gets clients; nothing that happens meanwhile refuses it."""

from __future__ import annotations

import pytest

from sockact.core.canary import schedule
from sockact.core.canary.progress import Plan
from sockact.core.lanes.target import target
from sockact.core.lifecycle import actions as do
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.machine import in_progress, next_deadline
from sockact.core.lifecycle.model import Exit, Gate, Outcome, Phase, Policy, Ready, State
from sockact.core.message_kinds import News
from tests.unit.core.story import Story, kinds

WARM = Policy(warm=30.0)


def warming(policy: Policy = WARM) -> Story:
    """The successor is ready, and its warm-up has begun."""
    story = Story(policy).serving()
    story.hear(on.Reload())
    story.launch(2)
    assert story.asked == (do.StartWarmUp(2),)
    assert target(story.state) == 1
    return story


def reports(story: Story) -> list[str]:
    return [one.message for one in story.asked if isinstance(one, do.Report)]


def outcome(story: Story) -> tuple[Outcome, str]:
    handover = story.state.handover
    assert handover is not None
    return handover.outcome, handover.reason


def test_clients_come_when_it_is_warm() -> None:
    story = warming()
    assert story.hear(on.Warming(2, "45 requests, 1.2 s -> 15 ms")) == ()
    story.hear(on.Warmed(2), 2.0)
    assert story.asked[0] == do.Report(2, "warmed up: 45 requests, 1.2 s -> 15 ms", news=News.WARM)
    assert story.generation(1) is State.DRAINING
    assert outcome(story) == (Outcome.COMMITTED, "")
    assert target(story.state) == 2


def test_the_first_generation_is_not_warmed_up() -> None:
    story = Story(WARM).serving()
    assert story.state.phase is Phase.SERVING


def test_it_goes_on_when_the_time_is_over() -> None:
    story = warming()
    story.hear(on.Warming(2, "45 requests, 5.0 s -> 5.0 s"))
    assert next_deadline(story.state) == story.now + 30.0
    assert story.hear(on.Tick(), 29.9) == ()
    story.hear(on.Tick(), 0.1)
    (said,) = reports(story)
    assert said == (
        "not warm, continuing: response times did not settle within 30 s: "
        "45 requests, 5.0 s -> 5.0 s"
    )
    assert outcome(story) == (Outcome.COMMITTED, "")


def test_no_process_for_it_is_no_reason_to_refuse() -> None:
    story = warming()
    story.hear(on.Warmed(2, "cannot start: no memory"))
    assert reports(story) == ["not warm, continuing: cannot start: no memory"]
    assert outcome(story) == (Outcome.COMMITTED, "")


def test_the_trial_comes_after_it() -> None:
    story = warming(Policy(warm=30.0, trial=20.0, private_trial=True))
    story.hear(on.Warmed(2))
    assert kinds(story.asked) == [do.Report, do.StartTrial]
    assert target(story.state) == 1


def test_a_trial_that_needs_the_clients_comes_after_it() -> None:
    story = warming(Policy(warm=30.0, trial=20.0))
    story.hear(on.Warmed(2))
    assert story.asked[1:] == (do.MoveGate(1, closed=True),)
    assert story.hear(on.GateMoved(1, Gate.CLOSED)) == (do.StartTrial(2),)


def test_the_canary_comes_after_it() -> None:
    story = warming(Policy(warm=30.0, plan=Plan(schedule.parse("5% 10s"))))
    story.hear(on.Warmed(2))
    assert story.state.canary is not None
    assert reports(story)[1] == "canary: gets 5% of the new clients"


def test_a_predecessor_that_was_paused_for_a_probe_serves_meanwhile() -> None:
    story = Story(Policy(ready=Ready.PROBE, warm=30.0)).serving_proven()
    story.hear(on.Reload())
    story.launch(2)
    story.hear(on.GateMoved(1, Gate.CLOSED))
    assert story.hear(on.Proven(2)) == (do.MoveGate(1, closed=False), do.StartWarmUp(2))
    assert story.generation(1) is State.RUNNING
    assert target(story.state) == 1


def test_without_a_lane_of_its_own_it_is_not_warmed_up() -> None:
    story = Story(WARM).serving()
    story.hear(on.Reload())
    story.hear(on.Observed(2, bound=True, hint="", alone=False))
    story.launch(2)
    assert reports(story) == ["not warmed up, because no lane is free"]
    assert outcome(story) == (Outcome.COMMITTED, "")


def test_a_crash_fails_the_reload() -> None:
    story = warming()
    story.hear(on.Exited(2, Exit(signal=11)))
    assert outcome(story) == (Outcome.FAILED, "the program was killed by signal 11")
    assert (story.generation(1), target(story.state)) == (State.RUNNING, 1)
    story.hear(on.Gone(2))
    assert story.state.phase is Phase.SERVING


def test_its_predecessor_crashes() -> None:
    """Clients wait: it has to serve as it is."""
    story = warming(Policy(warm=30.0, trial=20.0))
    story.hear(on.Exited(1, Exit(code=1)))
    assert reports(story)[1] == "not warm, continuing: the previous generation has ended"
    assert outcome(story) == (Outcome.COMMITTED, "")
    assert target(story.state) == 2


def test_a_rollback_ends_it() -> None:
    story = warming()
    assert story.state.can_go_back
    story.hear(on.Rollback())
    assert outcome(story) == (Outcome.FAILED, "rolled back by hand")
    assert (story.generation(1), story.generation(2)) == (State.RUNNING, State.DRAINING)
    assert story.hear(on.Warmed(2)) == (), "late news"


def test_a_second_reload_waits() -> None:
    story = warming()
    assert story.hear(on.Reload()) == ()
    assert story.state.queued is not None
    story.hear(on.Warmed(2))
    assert do.Spawn(3) in story.asked


@pytest.mark.parametrize("now", [False, True])
def test_a_stop_ends_it(now: bool) -> None:
    story = warming()
    story.hear(on.Stop(now=now))
    assert story.state.warming is None
    assert outcome(story) == (Outcome.FAILED, "the service is stopping")


def test_an_upgrade_need_not_wait_for_it() -> None:
    assert in_progress(warming().state) == ""
