"""The lifecycle where the successor has to prove that it is ready."""

from __future__ import annotations

from sockact.core.lifecycle import actions as do
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.model import (
    Exit,
    Gate,
    Phase,
    Ready,
    State,
)
from sockact.core.record import replace
from tests.unit.core.story import POLICY, Story, kinds


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
