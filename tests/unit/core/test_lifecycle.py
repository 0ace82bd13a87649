"""The lifecycle: what each event does, with time as an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockact.core.lifecycle import actions as do
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.drain import KILL_AGAIN
from sockact.core.lifecycle.machine import next_deadline, step
from sockact.core.lifecycle.model import (
    Exit,
    Gate,
    Outcome,
    Phase,
    Policy,
    Ready,
    Service,
    State,
)
from sockact.core.message_kinds import News
from sockact.core.record import replace

if TYPE_CHECKING:
    from sockact.core.lifecycle.actions import Action
    from sockact.core.lifecycle.events import Event

POLICY = Policy(start_timeout=10.0, drain_timeout=20.0, kill_timeout=5.0)


class Story:
    """Feeds events at given times and keeps the actions of the last one."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.state = Service(policy)
        self.now = 100.0
        self.asked: tuple[Action, ...] = ()

    def hear(self, event: Event, after: float = 0.0) -> tuple[Action, ...]:
        self.now += after
        self.state, self.asked = step(self.state, event, self.now)
        return self.asked

    def serving(self) -> Story:
        """Bring the first generation up."""
        self.hear(on.Start())
        self.launch(1)
        return self

    def serving_proven(self) -> Story:
        """The same, where readiness has to be proven."""
        self.serving()
        self.hear(on.Proven(1))
        return self

    def launch(self, number: int) -> None:
        """Interest, and the settle time after it."""
        self.hear(on.Interest(number))
        self.hear(on.Tick(), self.state.policy.settle)

    def generation(self, number: int) -> State | None:
        found = self.state.get(number)
        return found.state if found else None


def kinds(asked: tuple[Action, ...]) -> list[type]:
    return [type(action) for action in asked]


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


def probing() -> Story:
    story = Story(replace(POLICY, ready=Ready.PROBE))
    story.hear(on.Start())
    story.hear(on.Interest(1))
    assert story.hear(on.Tick(), POLICY.settle) == (do.StartProbe(1),)
    story.hear(on.Proven(1))
    story.hear(on.Reload())
    story.hear(on.Interest(2))
    assert story.hear(on.Tick(), POLICY.settle) == (do.MoveGate(1, closed=True),)
    assert story.generation(1) is State.PAUSED
    return story


def test_probe_runs_only_while_the_predecessor_is_paused() -> None:
    story = probing()
    assert story.hear(on.GateMoved(1, Gate.CLOSED)) == (do.StartProbe(2),)
    asked = story.hear(on.Proven(2))
    assert do.LastResponses(1) in asked
    assert do.MoveGate(1, closed=True) not in asked
    assert story.generation(1) is State.DRAINING


def test_failed_probe_opens_the_predecessors_gate() -> None:
    story = probing()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    asked = story.hear(on.Tick(), POLICY.start_timeout)
    assert do.MoveGate(1, closed=False) in asked
    assert story.generation(1) is State.RUNNING
    story.hear(on.GateMoved(1, Gate.OPEN))
    assert story.state.phase is Phase.SERVING


def test_probe_without_a_gate_to_close_still_runs() -> None:
    story = probing()
    asked = story.hear(on.GateMoved(1, Gate.NONE, "no shim"))
    assert asked == (do.MoveGate(1, closed=False), do.StartProbe(2)), "what was closed opens"
    assert story.generation(1) is State.RUNNING
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.GateMoved(1, Gate.OPEN))
    found = story.state.get(1)
    assert found
    assert (found.gate, found.gate_reason) == (Gate.OPEN, "no shim")
    assert do.Finish in kinds(story.hear(on.Tick(), POLICY.start_timeout))
    assert story.generation(1) is State.RUNNING


def test_gate_that_does_not_open_again_means_a_new_launch() -> None:
    story = probing()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Tick(), POLICY.start_timeout)
    asked = story.hear(on.GateMoved(1, Gate.NONE, "refused"))
    assert do.Spawn(3) in asked
    assert story.generation(1) is State.DRAINING


def test_stop_closes_a_gate_that_is_just_opening() -> None:
    story = probing()
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Tick(), POLICY.start_timeout)
    assert do.MoveGate(1, closed=True) in story.hear(on.Stop())
    story.hear(on.GateMoved(1, Gate.OPEN))
    found = story.state.get(1)
    assert found
    assert found.gate is Gate.CLOSING, "that was the answer to the order before"
    story.hear(on.GateMoved(1, Gate.CLOSED))
    assert story.hear(on.Tick()) == (do.TakeCensus(1),)


def test_late_answer_of_a_draining_generation_still_counts() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.launch(2)
    story.hear(on.Tick(), POLICY.gate_timeout)
    story.hear(on.GateMoved(1, Gate.CLOSED))
    found = story.state.get(1)
    assert found
    assert found.gate is Gate.CLOSED


def test_predecessor_that_dies_while_its_gate_closes_does_not_stop_the_probe() -> None:
    story = probing()
    assert do.StartProbe(2) in story.hear(on.Exited(1, Exit(signal=9)))


def test_notify_needs_ready_from_the_program() -> None:
    story = Story(replace(POLICY, ready=Ready.NOTIFY))
    story.hear(on.Start())
    story.hear(on.Interest(1))
    assert story.hear(on.Tick(), 1.0) == ()
    assert do.Announce(Phase.SERVING) in story.hear(on.Proven(1))
