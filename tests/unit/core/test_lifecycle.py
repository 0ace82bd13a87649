"""The lifecycle of launches, reloads and drains: what each event does, with time as an argument."""

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
from sockact.core.lifecycle.stop import KILL_AGAIN
from sockact.core.message_kinds import News
from tests.unit.core.story import POLICY, Story, kinds


def test_first_launch_becomes_ready_only_after_the_settle_time() -> None:
    story = Story()
    assert story.hear(on.Start()) == (do.Announce(Phase.STARTING), do.Spawn(1))
    assert story.hear(on.Interest(1)) == ()
    assert story.hear(on.Tick(), POLICY.settle / 2) == ()
    assert story.hear(on.Tick(), POLICY.settle / 2) == (
        do.Report(1, "serving", news=News.SERVES),
        do.Announce(Phase.SERVING),
    )
    assert story.generation(1) is State.RUNNING
    assert next_deadline(story.state) is None


def test_death_within_the_settle_time_was_never_ready() -> None:
    story = Story()
    story.hear(on.Start())
    story.hear(on.Interest(1))
    asked = story.hear(on.Exited(1, Exit(code=3)), POLICY.settle / 2)
    assert do.Terminate(1) in asked, "its workers may have accepted somebody"
    assert story.state.phase is Phase.STOPPING
    assert story.hear(on.Gone(1))[-1] == do.Quit(3)


def test_reload_commits_and_drains_the_predecessor() -> None:
    story = Story().serving()
    assert story.hear(on.Reload()) == (do.Spawn(2), do.Announce(Phase.RELOADING))
    story.hear(on.Interest(2))
    asked = story.hear(on.Tick(), POLICY.settle)
    assert kinds(asked) == [do.MoveGate, do.LastResponses, do.Finish, do.Announce]
    assert asked[0] == do.MoveGate(1, closed=True)
    assert story.state.handover
    assert story.state.handover.outcome is Outcome.COMMITTED
    assert story.generation(1) is State.DRAINING
    assert story.generation(2) is State.RUNNING
    assert story.state.phase is Phase.SERVING


def test_drain_ends_after_two_idle_samples_and_only_after_the_gate_moved() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.launch(2)
    assert story.hear(on.Tick(), 0.1) == ()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    assert story.hear(on.Tick()) == (do.TakeCensus(1),)
    assert story.hear(on.Census(1, busy=0, fresh=0, quiet=7)) == ()
    assert story.hear(on.Tick(), POLICY.census_interval) == (do.TakeCensus(1),)
    assert story.hear(on.Census(1, busy=0, fresh=0, quiet=7)) == (
        do.Terminate(1, "all connections finished"),
    )
    story.hear(on.Exited(1, Exit()))
    assert story.hear(on.Gone(1)) == (do.Drained(1),)
    assert story.state.handover
    assert story.state.handover.drained


def test_busy_and_fresh_connections_hold_the_drain_and_reset_the_count() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.launch(2)
    story.hear(on.GateMoved(1, Gate.CLOSED))
    for busy, fresh in ((1, 0), (0, 0), (0, 1), (0, 0)):
        story.hear(on.Tick(), POLICY.census_interval)
        assert do.Terminate not in kinds(story.hear(on.Census(1, busy, fresh, quiet=0)))
    story.hear(on.Tick(), POLICY.census_interval)
    assert do.Terminate in kinds(story.hear(on.Census(1, 0, 0, 0)))


def test_a_settled_generation_is_not_looked_at_twice() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.launch(2)
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Tick())
    assert do.Terminate not in kinds(story.hear(on.Census(1, 1, 0, 0, settled=True)))
    assert story.hear(on.Census(1, 0, 0, quiet=7, settled=True)) == (
        do.Terminate(1, "all connections finished"),
    )


def test_a_census_says_when_the_next_is_due() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.launch(2)
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Tick())
    story.hear(on.Census(1, busy=1, fresh=0, quiet=0, look_in=0.7))
    assert next_deadline(story.state) == story.now + 0.7


def test_drain_deadline_then_kill_deadline() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.launch(2)
    story.hear(on.GateMoved(1, Gate.CLOSED))
    asked = story.hear(on.Tick(), POLICY.drain_timeout)
    assert do.Terminate in kinds(asked)
    assert kinds(story.hear(on.Tick(), POLICY.kill_timeout)) == [do.Kill]
    assert story.hear(on.Tick(), KILL_AGAIN) == (do.Kill(1),), "until it is gone"
    assert story.hear(on.Gone(1)) == (do.Drained(1),)


def test_what_outlives_a_terminated_first_process_is_terminated_too() -> None:
    """`sh -c` does not pass SIGTERM on."""
    story = Story().serving()
    story.hear(on.Stop(now=True))
    assert story.hear(on.Exited(1, Exit(signal=15))) == (do.Terminate(1),)
    assert story.hear(on.Tick(), POLICY.kill_timeout)[0] == do.Kill(
        1, "still running 5 s after its stop signal"
    )


def test_gate_that_never_answers_counts_as_none() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.launch(2)
    assert story.hear(on.Tick(), POLICY.gate_timeout) == (do.TakeCensus(1),)
    found = story.state.get(1)
    assert found
    assert found.gate is Gate.NONE
    assert "did not answer" in found.gate_reason


def test_failed_successor_leaves_the_predecessor_untouched() -> None:
    story = Story().serving()
    before = story.state.get(1)
    story.hear(on.Reload())
    asked = story.hear(on.Exited(2, Exit(code=1)))
    assert kinds(asked) == [do.Kill, do.Finish, do.Announce]
    assert story.state.handover
    assert story.state.handover.reason == "the program exited with status 1 before it was ready"
    assert story.state.get(1) == before
    assert story.state.phase is Phase.SERVING
    assert story.hear(on.Gone(2)) == ()


def test_start_timeout_names_the_hint() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.hear(on.Observed(2, bound=False, hint="the program bound 0.0.0.0:1"))
    asked = story.hear(on.Tick(), POLICY.start_timeout)
    finish = next(a for a in asked if isinstance(a, do.Finish))
    assert finish.handover.reason.endswith("10 s: the program bound 0.0.0.0:1")


def test_refused_bind_is_part_of_the_reason() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.hear(on.Observed(2, bound=False, hint="", refusal="write ListenStream=[::1]:8000"))
    story.hear(on.Exited(2, Exit(code=1)))
    assert story.state.handover
    assert story.state.handover.reason.endswith("was ready: write ListenStream=[::1]:8000")


def test_operator_is_told_once_that_another_address_is_bound() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    seen = on.Observed(2, bound=False, hint="it bound 0.0.0.0:1", misplaced=True)
    assert story.hear(seen) == (do.Report(2, "it bound 0.0.0.0:1"),)
    assert story.hear(seen) == ()


def test_hopeless_generation_is_not_waited_for() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    asked = story.hear(on.Observed(2, bound=False, hint="it bound 0.0.0.0:1", hopeless=True))
    finish = next(a for a in asked if isinstance(a, do.Finish))
    assert finish.handover.reason == "not ready: it bound 0.0.0.0:1"


def test_first_launch_that_binds_nothing_exits_with_2() -> None:
    story = Story()
    story.hear(on.Start())
    story.hear(on.Observed(1, bound=False, hint=""))
    story.hear(on.Tick(), POLICY.start_timeout)
    assert story.hear(on.Gone(1))[-1] == do.Quit(2)


def test_program_that_cannot_be_executed() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    asked = story.hear(on.LaunchFailed(2, "cannot execute x: No such file"))
    assert do.Finish in kinds(asked)
    story.hear(on.Exited(2, Exit(code=127)))
    story.hear(on.Gone(2))
    assert [g.number for g in story.state.generations] == [1]


def test_reloads_that_come_meanwhile_share_one_more() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    assert story.hear(on.Reload()) == ()
    assert story.hear(on.Reload()) == ()
    story.hear(on.Interest(2))
    asked = story.hear(on.Tick(), POLICY.settle)
    assert kinds(asked)[-4:] == [do.Finish, do.Announce, do.Spawn, do.Announce]
    story.launch(3)
    assert story.state.phase is Phase.SERVING
    assert story.state.last_number == 3
    assert story.state.last_handover == 2
