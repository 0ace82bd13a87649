"""Pauses by the operator, with time as an argument."""

from __future__ import annotations

import pytest

from sockact.core.canary import schedule
from sockact.core.canary.progress import Plan
from sockact.core.history.pauses import PauseEntry, add
from sockact.core.lifecycle import actions as do
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.machine import in_progress, next_deadline
from sockact.core.lifecycle.model import Exit, Gate, Pause, Phase, Policy, State
from sockact.core.lifecycle.pause import EXPIRED, RESUMED, obstacle
from sockact.core.lifecycle.stop import STOPPING
from tests.unit.core.story import Story, kinds


def paused(story: Story | None = None, seconds: float = 30.0) -> Story:
    """Nobody accepts any more."""
    story = story or Story().serving()
    story.hear(on.Pause(seconds))
    for g in story.state.only(State.RUNNING):
        story.hear(on.GateMoved(g.number, Gate.CLOSED))
    assert pause(story).complete
    return story


def pause(story: Story) -> Pause:
    assert story.state.pause is not None
    return story.state.pause


def gates(story: Story) -> list[Gate]:
    return [g.gate for g in story.state.only(State.RUNNING)]


def test_the_gate_closes_and_opens_again() -> None:
    story = Story().serving()
    assert story.hear(on.Pause(30.0)) == (do.MoveGate(1, closed=True, hold=True),)
    assert not pause(story).complete
    assert "about to stop" in in_progress(story.state)
    asked = story.hear(on.GateMoved(1, Gate.CLOSED), 0.5)
    assert kinds(asked) == [do.Report]
    assert in_progress(story.state) == "", "an upgrade need not wait for the end of the pause"
    assert next_deadline(story.state) == story.now + 29.5
    asked = story.hear(on.Resume(), 5.0)
    assert kinds(asked) == [do.EndPause, do.MoveGate, do.Report]
    assert asked[1] == do.MoveGate(1, closed=False)
    assert (pause(story).ended, pause(story).reason) == (story.now, RESUMED)
    story.hear(on.GateMoved(1, Gate.OPEN))
    assert gates(story) == [Gate.OPEN]


def test_it_ends_by_itself() -> None:
    story = paused()
    assert story.hear(on.Tick(), 29.9) == ()
    assert do.MoveGate(1, closed=False) in story.hear(on.Tick(), 0.1)
    assert pause(story).reason == EXPIRED
    assert story.hear(on.Resume()) == (), "there is nothing to resume"


def test_a_second_one_sets_a_new_deadline() -> None:
    story = paused()
    story.hear(on.Pause(60.0), 20.0)
    assert next_deadline(story.state) == story.now + 60.0
    assert (pause(story).since, pause(story).complete) == (story.now - 20.0, True)


@pytest.mark.parametrize("in_time", [True, False], ids=["refused", "late"])
def test_a_gate_that_cannot_be_closed(in_time: bool) -> None:
    story = Story().serving()
    story.hear(on.Pause(30.0))
    event: on.Event = on.GateMoved(1, Gate.NONE, "no shim") if in_time else on.Tick()
    asked = story.hear(event, 0.0 if in_time else story.state.policy.gate_timeout)
    assert kinds(asked) == [do.EndPause, do.MoveGate, do.Report]
    assert asked[1] == do.MoveGate(1, closed=False)
    why = "no shim" if in_time else "did not answer"
    assert why in pause(story).reason


def test_it_needs_somebody_who_serves_and_no_handover() -> None:
    story = Story()
    assert "no generation" in obstacle(story.state)
    assert story.hear(on.Pause(30.0)) == ()
    story.serving().hear(on.Reload())
    assert "a reload is in progress" in obstacle(story.state)
    assert story.hear(on.Pause(30.0)) == ()
    assert story.state.pause is None


def test_a_reload_waits_for_its_end() -> None:
    story = paused()
    assert story.hear(on.Reload()) == ()
    asked = story.hear(on.Resume())
    assert asked[1] == do.MoveGate(1, closed=False)
    assert asked[-2:] == (do.Spawn(2), do.Announce(Phase.RELOADING))


def test_no_rollback_meanwhile() -> None:
    story = Story(Policy(keep_predecessor=600.0)).serving()
    story.hear(on.Reload())
    story.launch(2)
    story.hear(on.GateMoved(1, Gate.CLOSED))
    paused(story)
    assert story.hear(on.Rollback()) == ()


def test_after_a_crash_the_launch_waits() -> None:
    """Its successor would accept at once."""
    story = paused()
    asked = story.hear(on.Exited(1, Exit(code=1)), 5.0)
    assert do.Spawn not in kinds(asked)
    assert story.state.phase is Phase.BACKOFF
    story.hear(on.Pause(40.0))
    assert story.state.respawn_at == story.now + 40.0
    assert do.Spawn(2) in story.hear(on.Resume(), 1.0)


def test_a_crash_before_the_gate_has_closed_completes_it() -> None:
    story = Story().serving()
    story.hear(on.Pause(30.0))
    story.hear(on.Exited(1, Exit(code=1)))
    assert pause(story).complete
    assert do.Spawn(2) in story.hear(on.Tick(), 30.0)
    assert pause(story).reason == EXPIRED


def test_a_stop_ends_it() -> None:
    story = paused()
    asked = story.hear(on.Stop())
    assert kinds(asked)[0] is do.EndPause, "the next start has to find clients"
    assert pause(story).reason == STOPPING
    assert story.generation(1) is State.DRAINING
    assert next_deadline(story.state) == story.now, "its connections are counted at once"


def canary() -> Story:
    """A canary with 10 s of its first step left."""
    plan = Plan(schedule.parse("10% 30s, 50% 30s"))
    story = Story(Policy(plan=plan)).serving()
    story.hear(on.Reload())
    story.launch(2)
    assert story.state.canary is not None
    story.now += 20.0
    return story


def test_both_generations_of_a_canary_pause_and_its_step_stands_still() -> None:
    story = paused(canary())
    assert gates(story) == [Gate.CLOSED, Gate.CLOSED]
    assert story.hear(on.Promote()) == ()
    assert story.hear(on.Share(500)) == ()
    assert kinds(story.hear(on.Tick(), 30.0)).count(do.MoveGate) == 2
    assert next_deadline(story.state) == pytest.approx(story.now + 10.0)
    found = story.state.canary
    assert found is not None
    assert found.progress.share == 100


def test_one_gate_of_a_canary_that_cannot_be_closed_opens_both() -> None:
    story = canary()
    story.hear(on.Pause(30.0))
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.GateMoved(2, Gate.NONE, "no shim"))
    assert gates(story) == [Gate.OPENING, Gate.OPENING]


@pytest.mark.parametrize("number", [1, 2])
def test_a_generation_of_a_canary_that_crashes(number: int) -> None:
    story = paused(canary())
    asked = story.hear(on.Exited(number, Exit(code=1)))
    assert do.Spawn not in kinds(asked)
    assert gates(story) == [Gate.CLOSED]
    assert story.state.canary is None
    assert do.MoveGate(3 - number, closed=False) in story.hear(on.Resume())


def test_the_last_ones_are_remembered() -> None:
    entries: tuple[PauseEntry, ...] = ()
    for count in range(60):
        entries = add(entries, Pause(count, count + 9.0, True, count + 2.0, RESUMED), 1000.0)
    assert len(entries) == 50
    assert entries[-1] == PauseEntry(998.0, 2.0, True, RESUMED)
    assert entries[-1].sound
    assert not PauseEntry(-1.0, 2.0, True, "").sound
