"""Probe attempts that end in unusual ways."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.base import commands
from sockact.supervisor.probes.attempts import Attempts
from sockact.supervisor.processes.processes import exit_of
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.supervisor.base.loop import Loop

NOBODY = 65534
BECOMES_ANOTHER = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
HANGS = commands.shell_command("exec sleep 1000")


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    """Become another user, who may not signal processes that were started before."""
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@BECOMES_ANOTHER
def test_an_attempt_that_may_not_be_killed_is_given_up(loop: Loop) -> None:
    """`exec:sudo …`: it is left alone, and the supervisor does not fail."""
    said: list[str] = []
    running = commands.CommandRun(loop, HANGS, os.environ, None, said.append)
    with another_user():
        running.abandon()
    kill(running.pid)
    assert said == []


@BECOMES_ANOTHER
def test_an_attempt_that_takes_too_long_and_may_not_be_killed_has_failed(loop: Loop) -> None:
    said: list[str] = []

    def done(reason: str) -> None:
        said.append(reason)
        loop.stop()

    running = commands.CommandRun(loop, HANGS, os.environ, 0.01, done)
    late = loop.at(time.monotonic() + wait.TIMEOUT, loop.stop)
    with another_user():
        loop.run()
    late.cancel()
    kill(running.pid)
    refused = f"the kernel refuses to kill process {running.pid}"
    assert said == [f"took more than 0.01 s, and {refused}"]


def test_attempts_come_one_after_the_other(loop: Loop) -> None:
    said: list[str] = []
    command = commands.shell_command("exit 3")
    start = partial(commands.CommandRun, loop, command, os.environ, None)
    attempts = Attempts(start, said.append)
    for _ in range(2):
        attempts.begin()
        attempts.begin()
        pid, status = os.wait()
        loop.child_ended(pid, exit_of(status))
    assert said == ["exited with status 3"] * 2
    with pytest.raises(ChildProcessError):
        os.wait()
