"""The order of hooks, and its bounds."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.base.loop import Loop
from sockact.supervisor.hooks.runner import MOST, HookBatch, HookRunner
from tests.support import wait
from tests.support.reaping import reap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Rig:
    """HookRunner with a loop that tells them who has ended."""

    def __init__(self, log: Path) -> None:
        self.loop = Loop()
        self.loop.catch([signal.SIGCHLD], partial(reap, self.loop))
        self.hooks = HookRunner(self.loop)
        self.log = log
        self.ended: list[tuple[str, str]] = []
        self.failed: list[str] = []
        self.known = True

    def add(
        self,
        name: str,
        *scripts: str,
        generation: int = 1,
        to_the_end: bool = True,
        latest: bool = False,
    ) -> None:
        commands = tuple(("/bin/sh", "-c", script, str(self.log)) for script in scripts)
        self.hooks.add(
            HookBatch(
                generation,
                commands,
                60.0,
                lambda: (os.environ, b"{}") if self.known else None,
                self.failed.append,
                lambda reason: self.ended.append((name, reason)),
                to_the_end,
                latest,
            )
        )

    def run(self) -> None:
        """Run the loop until all hooks have ended."""
        self.hooks.when_idle(self.loop.stop)
        self.hooks.settle()
        self.loop.run()

    def lines(self) -> list[str]:
        return self.log.read_text().split()


@pytest.fixture
def rig(folder: Path) -> Iterator[Rig]:
    log = folder / "log"
    log.touch()
    before = signal.getsignal(signal.SIGCHLD)
    made = Rig(log)
    yield made
    made.hooks.close()
    made.loop.close()
    signal.signal(signal.SIGCHLD, before)


def says(word: str, and_then: str = "") -> str:
    return f'echo {word} >> "$0"; {and_then}'


def test_one_after_the_other_of_one_generation(rig: Rig) -> None:
    for number in range(5):
        rig.add(str(number), says(f"{number}a", "sleep 0.02"), says(f"{number}b"))
    rig.run()
    assert rig.lines() == [f"{number}{part}" for number in range(5) for part in "ab"]
    assert rig.ended == [(str(number), "") for number in range(5)]


def test_only_the_latest_of_some_waits(rig: Rig) -> None:
    rig.known = False
    rig.add("running", says("running"))
    rig.add("first", says("first"), latest=True)
    rig.add("draining", says("draining"))
    for number in range(2 * MOST):
        rig.add(str(number), says(str(number)), latest=True)
    rig.add("other", says("other"), generation=2, latest=True)
    rig.known = True
    rig.hooks.look(1)
    rig.hooks.look(2)
    rig.run()
    assert sorted(rig.lines()) == sorted(["running", "draining", str(2 * MOST - 1), "other"])
    assert rig.failed == []


def test_side_by_side_of_several(rig: Rig) -> None:
    """Each waits for the other."""
    meets = 'until grep -q {} "$0"; do sleep 0.01; done'
    rig.add("a", says("one", meets.format("two")), generation=1)
    rig.add("b", says("two", meets.format("one")), generation=2)
    rig.run()
    assert sorted(rig.lines()) == ["one", "two"]


def test_new_hooks_run_after_the_waiting_ones(rig: Rig) -> None:
    rig.add("1", says("1"))
    rig.add("2", says("2"))
    first = rig.hooks._running[1]._batch
    object.__setattr__(first, "ended", lambda _reason: rig.add("3", says("3")))
    rig.run()
    assert rig.lines() == ["1", "2", "3"]


def test_nothing_is_told_before_it_is_known(rig: Rig) -> None:
    rig.known = False
    rig.add("1", says("1"))
    assert rig.hooks.busy()
    rig.hooks.look(1)
    assert rig.lines() == []
    rig.known = True
    rig.loop.at(0.0, partial(rig.hooks.look, 1))
    rig.run()
    assert rig.lines() == ["1"]


def test_after_a_failure(rig: Rig) -> None:
    scripts = (says("1"), says("2", "echo why; exit 4"), says("3"))
    rig.add("all", *scripts)
    rig.add("some", *scripts, to_the_end=False)
    rig.run()
    assert rig.lines() == ["1", "2", "3", "1", "2"]
    reason = "/bin/sh: exited with status 4: why"
    assert rig.ended == [("all", reason), ("some", reason)]
    assert rig.failed == [reason] * 2


def test_too_many_are_refused(rig: Rig) -> None:
    rig.known = False
    for number in range(MOST + 3):
        rig.add(str(number), says(str(number)))
    reason = f"not run: {MOST} other hooks are waiting"
    assert rig.ended == [(str(MOST + extra), reason) for extra in (1, 2)]
    assert rig.failed == [reason] * 2
    rig.known = True
    rig.loop.at(0.0, partial(rig.hooks.look, 1))
    rig.run()
    assert rig.lines() == [str(number) for number in range(MOST + 1)]


def test_nothing_is_left_when_they_are_given_up(rig: Rig) -> None:
    rig.add("1", says("1", "sleep 600"))
    rig.add("2", says("2"))
    wait.until(lambda: rig.lines() == ["1"], "the first")
    attempt = rig.hooks._running[1]._attempt
    assert attempt is not None
    rig.hooks.abandon()
    assert not rig.hooks.busy()
    os.waitpid(attempt.pid, 0)
    assert (rig.ended, rig.lines()) == ([], ["1"])
