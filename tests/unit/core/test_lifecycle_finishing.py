"""A generation that was stopped while its connections were idle, and finishes them."""

from __future__ import annotations

import pytest

from sockact.core.lifecycle import actions as do
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.machine import next_deadline
from sockact.core.lifecycle.model import Exit, Gate, Policy, State
from sockact.core.lifecycle.stop import FINISHING_INTERVAL
from sockact.core.record import replace
from tests.unit.core.story import POLICY, Story, kinds


def finishing(policy: Policy = POLICY) -> Story:
    """Generation 1 got its stop signal with two idle connections, at once after its commit."""
    story = Story(policy).serving()
    story.hear(on.Reload())
    story.launch(2)
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Tick())
    asked = story.hear(on.Census(1, busy=0, fresh=0, quiet=2, settled=True))
    assert asked == (do.Terminate(1, do.IDLE),)
    return story


def kill_at(story: Story) -> float:
    found = story.state.get(1)
    assert found
    assert found.kill_at is not None
    return found.kill_at - story.now


def test_its_connections_have_the_drain_timeout() -> None:
    story = finishing()
    for _ in range(int(POLICY.drain_timeout / FINISHING_INTERVAL)):
        assert story.hear(on.Tick(), FINISHING_INTERVAL) == (do.TakeCensus(1),)
        assert story.hear(on.Census(1, busy=1, fresh=0, quiet=1)) == ()
    assert story.hear(on.Tick(), POLICY.kill_timeout)[-1] == do.Kill(
        1, "still running 5 s after the drain timeout expired", cuts_off=True
    )


def test_without_connections_it_has_the_kill_timeout() -> None:
    story = finishing()
    story.hear(on.Tick(), FINISHING_INTERVAL)
    story.hear(on.Census(1, busy=0, fresh=0, quiet=0))
    assert kill_at(story) == POLICY.kill_timeout
    asked = story.hear(on.Tick(), POLICY.kill_timeout)
    assert asked == (do.Kill(1, "still running 5 s after its stop signal"),)


def test_no_connections_at_all() -> None:
    story = Story().serving()
    story.hear(on.Reload())
    story.launch(2)
    story.hear(on.GateMoved(1, Gate.CLOSED))
    story.hear(on.Census(1, busy=0, fresh=0, quiet=0, settled=True))
    assert kill_at(story) == POLICY.kill_timeout
    assert next_deadline(story.state) == story.now + POLICY.kill_timeout, "it is not counted again"


def test_counts_are_no_more_frequent_than_they_are_worth() -> None:
    story = finishing()
    story.hear(on.Tick(), FINISHING_INTERVAL)
    story.hear(on.Census(1, busy=0, fresh=0, quiet=2, look_in=7.0))
    assert next_deadline(story.state) == story.now + 7.0


@pytest.mark.parametrize("event", [on.Hurry(), on.Stop(now=True)])
def test_a_stop_that_cannot_wait_shortens_it(event: on.Hurry | on.Stop) -> None:
    story = finishing()
    story.hear(on.Stop())
    assert kill_at(story) > POLICY.kill_timeout
    story.hear(event, 2.0)
    assert kill_at(story) == POLICY.kill_timeout


def test_it_counts_as_draining() -> None:
    story = finishing(replace(POLICY, max_draining=1))
    story.hear(on.Reload())
    story.launch(3)
    assert kill_at(story) == POLICY.kill_timeout
    assert story.generation(2) is State.DRAINING


def test_its_end() -> None:
    story = finishing()
    assert kinds(story.hear(on.Exited(1, Exit()))) == [do.Terminate]
    assert story.hear(on.Gone(1)) == (do.Drained(1),)
