"""Trials and rollbacks: cases that real programs rarely cause."""

from __future__ import annotations

from sockact.core.lifecycle import actions as do
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.model import Exit, Gate, Outcome, Phase, Policy, Ready, State
from tests.unit.core.story import Story, kinds

TRIAL = Policy(trial=30.0, probed=True, gate_timeout=3.0)
KEEP = Policy(keep_predecessor=600.0)


def on_trial(policy: Policy = TRIAL) -> Story:
    """The successor is ready, and the order to close its predecessor's gate is out."""
    story = Story(policy).serving()
    story.hear(on.Reload())
    story.launch(2)
    assert story.asked == (do.MoveGate(1, closed=True),)
    return story


def outcome(story: Story) -> tuple[Outcome, str]:
    handover = story.state.handover
    assert handover is not None
    return handover.outcome, handover.reason


def test_the_trial_begins_when_the_predecessor_accepts_no_more() -> None:
    story = on_trial()
    assert story.hear(on.GateMoved(1, Gate.CLOSED), 2.0) == (do.StartTrial(2),)
    story.hear(on.TrialPassed(2))
    assert story.hear(on.Tick(), 29.9) == ()
    asked = story.hear(on.Tick(), 0.1)
    assert kinds(asked) == [do.LastResponses, do.Finish, do.Announce]
    assert story.generation(1) is State.DRAINING
    assert outcome(story) == (Outcome.COMMITTED, "")


def test_every_state_has_its_own_beginning() -> None:
    story = on_trial()
    paused = story.state.get(1)
    assert paused is not None
    assert (paused.state, paused.since) == (State.PAUSED, story.now)
    story.hear(on.GateMoved(1, Gate.CLOSED), 2.0)
    story.hear(on.TrialFailed(2, "status 500"), 5.0)
    resumed = story.state.get(1)
    assert resumed is not None
    assert (resumed.state, resumed.since) == (State.RUNNING, story.now)


def test_after_a_probe_for_readiness_the_predecessor_is_paused_already() -> None:
    story = Story(Policy(ready=Ready.PROBE, trial=30.0)).serving_proven()
    story.hear(on.Reload())
    story.launch(2)
    story.hear(on.GateMoved(1, Gate.CLOSED))
    assert story.hear(on.Proven(2)) == (do.StartTrial(2),)


def test_a_predecessor_that_cannot_be_paused_keeps_accepting() -> None:
    story = on_trial()
    asked = story.hear(on.GateMoved(1, Gate.NONE, "no shim"))
    assert asked == (
        do.MoveGate(1, closed=False),
        do.Report(2, "on trial, but the previous generation is still accepting: no shim"),
        do.StartTrial(2),
    )
    story.hear(on.GateMoved(1, Gate.OPEN))
    story.hear(on.TrialFailed(2, "status 500"))
    assert story.generation(1) is State.RUNNING
    assert story.generation(2) is State.DRAINING
    assert outcome(story) == (Outcome.FAILED, "status 500")


def test_the_predecessor_serves_first() -> None:
    story = on_trial()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    asked = story.hear(on.TrialFailed(2, "status 500"))
    assert asked[0] == do.MoveGate(1, closed=False)
    assert asked[1] == do.MoveGate(2, closed=True)


def test_a_gate_that_does_not_open_again_means_a_new_launch() -> None:
    story = on_trial()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.TrialFailed(2, "status 500"))
    asked = story.hear(on.GateMoved(1, Gate.NONE, "it closed the listener"))
    assert do.Spawn(3) in asked


def test_a_stop_ends_the_trial() -> None:
    story = on_trial()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Stop())
    assert outcome(story) == (Outcome.FAILED, "the service is stopping")
    assert [g.state for g in story.state.generations] == [State.DRAINING, State.DRAINING]


def test_a_reload_during_a_trial_waits_for_its_end() -> None:
    story = on_trial(Policy(trial=30.0))
    story.hear(on.GateMoved(1, Gate.CLOSED))
    assert story.hear(on.Reload()) == ()
    assert do.Spawn(3) in story.hear(on.Tick(), 30.0)


def test_late_events_of_a_trial_are_ignored() -> None:
    story = on_trial(Policy(trial=30.0))
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Tick(), 30.0)
    state = story.state
    for event in (on.TrialFailed(2, "late"), on.TrialPassed(2)):
        assert story.hear(event) == ()
    assert story.state == state


def kept() -> Story:
    story = Story(KEEP).serving()
    story.hear(on.Reload())
    story.launch(2)
    assert kinds(story.asked) == [do.MoveGate, do.LastResponses, do.Finish, do.Announce]
    return story


def test_a_predecessor_that_cannot_be_paused_is_not_kept() -> None:
    story = kept()
    story.hear(on.GateMoved(1, Gate.NONE, "no shim"))
    assert story.generation(1) is State.DRAINING


def test_a_kept_predecessor_may_keep_its_connections_when_it_serves_again() -> None:
    story = kept()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    asked = story.hear(on.Rollback())
    assert do.KeepConnections(1) in asked
    assert story.state.phase is Phase.RELOADING
    assert outcome(story)[0] is Outcome.PENDING
    story.hear(on.GateMoved(1, Gate.OPEN))
    assert outcome(story) == (Outcome.COMMITTED, "")


def rolling_back() -> Story:
    story = kept()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Rollback())
    return story


def test_the_current_generation_serves_until_the_rollback_is_done() -> None:
    story = rolling_back()
    assert do.MoveGate(2, closed=True) not in story.asked
    assert story.generation(2) is State.RUNNING
    asked = story.hear(on.GateMoved(1, Gate.OPEN))
    assert kinds(asked) == [do.MoveGate, do.LastResponses, do.Finish, do.Announce]
    assert story.generation(2) is State.DRAINING
    assert story.hear(on.Tick(), 60.0)
    assert story.generation(1) is State.RUNNING


def test_a_rollback_to_a_gate_that_does_not_open() -> None:
    story = rolling_back()
    story.hear(on.GateMoved(1, Gate.NONE, "it closed the listener"))
    assert outcome(story)[0] is Outcome.FAILED
    assert story.generation(1) is State.DRAINING
    assert story.generation(2) is State.RUNNING
    assert story.state.phase is Phase.SERVING


def test_a_rollback_to_a_program_that_does_not_answer() -> None:
    story = rolling_back()
    story.hear(on.Tick(), 3.0)
    assert outcome(story) == (
        Outcome.FAILED,
        "cannot accept connections again: the program did not answer within 3 s",
    )
    assert story.generation(2) is State.RUNNING


def test_a_rollback_to_a_generation_that_dies() -> None:
    story = rolling_back()
    asked = story.hear(on.Exited(1, Exit(signal=9)))
    assert outcome(story) == (Outcome.FAILED, "the program was killed by signal 9")
    assert do.Spawn(3) not in asked
    assert story.generation(2) is State.RUNNING


def test_the_current_generation_dies_during_the_rollback() -> None:
    story = rolling_back()
    asked = story.hear(on.Exited(2, Exit(signal=9)))
    assert do.Spawn(3) not in asked
    story.hear(on.GateMoved(1, Gate.OPEN))
    assert outcome(story) == (Outcome.COMMITTED, "")


def test_a_trial_without_a_predecessor_goes_on() -> None:
    story = on_trial()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Exited(1, Exit(signal=9)))
    story.hear(on.Gone(1))
    assert not story.state.can_go_back
    assert story.hear(on.Rollback()) == ()
    assert outcome(story)[0] is Outcome.PENDING


def test_a_launch_without_a_predecessor_goes_on() -> None:
    story = Story().serving()
    story.hear(on.Exited(1, Exit(signal=9)))
    story.hear(on.Gone(1))
    story.hear(on.Exited(2, Exit(code=3)))
    story.hear(on.Gone(2))
    story.hear(on.Reload())
    assert story.state.in_handover
    assert story.hear(on.Rollback()) == ()


def test_a_handover_says_whether_the_predecessor_is_kept() -> None:
    handover = kept().state.handover
    assert handover is not None
    assert handover.kept


def test_a_rollback_is_not_rolled_back() -> None:
    story = kept()
    story.hear(on.Rollback())
    assert story.hear(on.Rollback()) == ()


def test_a_kept_predecessor_that_dies_changes_nothing() -> None:
    story = kept()
    asked = story.hear(on.Exited(1, Exit(code=1)))
    assert kinds(asked) == [do.Terminate, do.Report]
    assert story.generation(2) is State.RUNNING


def test_a_kept_predecessor_may_end_by_itself() -> None:
    """For example a program that exits when it is idle."""
    story = kept()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    assert story.hear(on.Exited(1, Exit())) == ()
    assert kinds(story.hear(on.Gone(1))) == [do.Report]
    assert story.state.phase is Phase.SERVING
    assert story.generation(2) is State.RUNNING


def test_a_service_that_exits_keeps_no_predecessor() -> None:
    story = kept()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Exited(2, Exit()))
    story.hear(on.Gone(2))
    assert story.state.phase is Phase.STOPPING
    assert story.generation(1) is State.DRAINING


def test_a_trial_shorter_than_the_closing_of_the_gate() -> None:
    """The trial has its full length, from the moment that the successor serves alone."""
    story = on_trial(Policy(trial=1.0, probed=True, gate_timeout=3.0))
    assert story.hear(on.Tick(), 2.0) == ()
    assert story.hear(on.GateMoved(1, Gate.CLOSED)) == (do.StartTrial(2),)
    story.hear(on.TrialPassed(2))
    assert story.hear(on.Tick(), 0.9) == ()
    story.hear(on.Tick(), 0.1)
    assert outcome(story) == (Outcome.COMMITTED, "")


def test_a_predecessor_that_dies_while_its_gate_closes() -> None:
    story = on_trial(Policy(trial=1.0, gate_timeout=3.0))
    assert do.StartTrial(2) in story.hear(on.Exited(1, Exit(signal=9)), 0.5)
    assert story.hear(on.Tick(), 0.9) == ()
    story.hear(on.Tick(), 0.1)
    assert outcome(story) == (Outcome.COMMITTED, "")


def test_a_rollback_to_a_gate_that_opens_late() -> None:
    """The current generation goes on serving; later reloads do not wait."""
    story = kept()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Rollback())
    story.hear(on.Tick(), KEEP.gate_timeout)
    assert outcome(story)[0] is Outcome.FAILED
    assert story.state.phase is Phase.SERVING
    assert story.generation(2) is State.RUNNING
    assert story.generation(1) is State.DRAINING
    assert do.Spawn(3) in story.hear(on.Reload())


def test_a_rollback_in_a_crash_loop_to_a_gate_that_opens_late() -> None:
    """The order stands, because no other generation serves; later reloads do not wait."""
    story = Story().serving()
    story.hear(on.Reload())
    story.launch(2)
    story.hear(on.GateMoved(1, Gate.CLOSED))
    for number in (2, 3):
        story.hear(on.Exited(number, Exit(code=1)))
        story.hear(on.Gone(number))
    story.hear(on.Rollback())
    story.hear(on.Tick(), 3.0)
    assert outcome(story) == (
        Outcome.FAILED,
        "it did not resume accepting within 3 s; it may still do so later",
    )
    assert story.generation(1) is State.RUNNING
    assert story.hear(on.GateMoved(1, Gate.OPEN)) == ()
    assert do.Spawn(4) in story.hear(on.Reload())


def test_a_successor_that_cannot_be_taken_back_is_not_rolled_back() -> None:
    story = on_trial()
    story.hear(on.Exited(1, Exit(signal=9)))
    assert not story.state.can_go_back
    state = story.state
    assert story.hear(on.Rollback()) == ()
    assert story.state == state


def test_no_rollback_to_a_generation_that_was_rolled_back() -> None:
    """It is still draining when the previous generation crashes."""
    story = on_trial()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.TrialFailed(2, "status 500"))
    story.hear(on.Exited(1, Exit(code=1)))
    assert story.generation(2) is State.DRAINING
    assert story.state.fallback is None


def test_hurry_applies_only_while_stopping() -> None:
    story = Story().serving()
    assert story.hear(on.Hurry()) == ()
    story.hear(on.Stop())
    story.hear(on.Hurry())
    g = story.state.get(1)
    assert g is not None
    assert g.drain_deadline == story.now + story.state.policy.kill_timeout
    story.hear(on.Hurry(), 1.0)
    assert story.state.get(1) == g, "a third one does not prolong it"
    story.hear(on.GateMoved(1, Gate.CLOSED))
    asked = story.hear(on.Tick(), story.state.policy.kill_timeout)
    assert do.Terminate(1, "the drain was cut short") in asked
