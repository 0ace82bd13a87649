"""The lifecycle when a program crashes, exits or is stopped."""

from __future__ import annotations

from sockact.core.lifecycle import actions as do
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.machine import next_deadline
from sockact.core.lifecycle.model import (
    Exit,
    Gate,
    Outcome,
    Phase,
    State,
)
from sockact.core.message_kinds import News
from tests.unit.core.story import POLICY, Story, kinds


def test_crash_is_replaced_at_once_then_with_growing_delays() -> None:
    story = Story().serving()
    waits = []
    for number in range(1, 9):
        story.hear(on.Exited(number, Exit(signal=11)))
        story.hear(on.Gone(number))
        due = story.state.respawn_at
        waits.append(round(due - story.now, 3) if due is not None else 0.0)
        if due is not None:
            story.hear(on.Tick(), due - story.now)
        story.launch(number + 1)
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]
    assert story.state.phase is Phase.SERVING


def test_long_service_resets_the_crash_count() -> None:
    story = Story().serving()
    story.hear(on.Exited(1, Exit(code=1)))
    story.hear(on.Gone(1))
    story.launch(2)
    story.now += POLICY.stable_after
    story.hear(on.Exited(2, Exit(code=1)))
    assert story.state.respawn_at is None
    assert story.generation(3) is State.PENDING


def test_reload_during_backoff_launches_at_once() -> None:
    story = Story().serving()
    for number in (1, 2):
        story.hear(on.Exited(number, Exit(code=1)))
        story.hear(on.Gone(number))
    assert next_deadline(story.state) is not None
    assert do.Spawn(3) in story.hear(on.Reload())
    assert story.state.respawn_at is None
    story.launch(3)
    assert story.state.handover
    assert story.state.handover.outcome is Outcome.COMMITTED


def test_reload_waiting_for_a_relaunch_that_fails_is_not_forgotten() -> None:
    story = Story().serving()
    story.hear(on.Exited(1, Exit(code=1)))
    story.hear(on.Gone(1))
    assert story.hear(on.Reload()) == ()
    asked = story.hear(on.Exited(2, Exit(code=1)))
    assert do.Spawn(3) in asked
    assert story.state.in_handover


def test_clean_exit_ends_the_service_when_all_processes_have_ended() -> None:
    story = Story().serving()
    assert story.hear(on.Exited(1, Exit())) == ()
    assert story.generation(1) is State.RUNNING
    assert story.hear(on.Gone(1))[-1] == do.Quit(0)


def test_a_daemon_that_is_killed_has_crashed() -> None:
    """Its first process exited with 0 long ago; the exit of the others counts."""
    story = Story().serving()
    story.hear(on.Exited(1, Exit()))
    asked = story.hear(on.Gone(1, Exit(signal=9)))
    assert do.Report(1, "the program was killed by signal 9", error=True, news=News.FAILED) in asked
    assert do.Spawn(2) in asked


def test_stop_now_is_not_a_clean_exit() -> None:
    story = Story().serving()
    story.hear(on.Stop(now=True))
    assert not [a for a in story.hear(on.Gone(1)) if isinstance(a, do.Report)]


def test_crash_during_a_handover_leaves_it_to_the_successor() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    asked = story.hear(on.Exited(1, Exit(signal=9)))
    assert do.Spawn not in kinds(asked)
    story.hear(on.Gone(1))
    story.launch(2)
    assert story.state.handover
    assert story.state.handover.outcome is Outcome.COMMITTED
    assert story.state.phase is Phase.SERVING


def test_both_generations_lost_in_a_handover_means_a_new_launch() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.hear(on.Exited(1, Exit(signal=9)))
    asked = story.hear(on.Exited(2, Exit(code=1)))
    assert do.Spawn(3) in asked
    assert do.Finish in kinds(asked)


def test_stop_drains_everything_then_quits() -> None:
    story = Story().serving()
    asked = story.hear(on.Stop())
    assert asked[0] == do.Announce(Phase.STOPPING)
    assert do.MoveGate(1, closed=True) in asked
    story.hear(on.GateMoved(1, Gate.CLOSED))
    for _ in range(2):
        story.hear(on.Tick(), POLICY.census_interval)
        story.hear(on.Census(1, 0, 0, 0))
    story.hear(on.Exited(1, Exit(signal=15)))
    assert story.hear(on.Gone(1)) == (
        do.Drained(1),
        do.Announce(Phase.STOPPED),
        do.Quit(0),
    )


def test_stop_now_skips_the_drain() -> None:
    story = Story().serving()
    story.hear(on.Stop())
    assert kinds(story.hear(on.Stop(now=True))) == [do.Terminate]
    assert story.hear(on.Stop(now=True)) == ()


def test_stop_ends_a_handover_with_a_reason() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.hear(on.Reload())
    asked = story.hear(on.Stop())
    finished = [a.handover for a in asked if isinstance(a, do.Finish)]
    # The queued one, too: a caller waits for its outcome.
    assert [(h.id, h.reason) for h in finished] == [
        (1, "the service is stopping"),
        (2, "the service is stopping"),
    ]
    assert story.state.queued is None
    assert do.MoveGate(1, closed=True) in asked
    assert do.MoveGate(1, closed=False) not in asked
