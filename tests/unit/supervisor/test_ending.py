"""Signals that the kernel refuses are reported once for each generation."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, cast

from sockact.core.message_kinds import News
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.processes.processes import Signalled
from sockact.supervisor.processes.termination import Termination

if TYPE_CHECKING:
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls

PID = 42


class Refused:
    """A stand-in for Processes: the kernel refuses every signal."""

    def signal_all(self, _generation: int, _number: int) -> Signalled:
        return Signalled((), (PID,))


class Known:
    """A stand-in for ShimCalls."""

    def forget_generation(self, _generation: int) -> None:
        pass


def test_a_refused_signal_is_told_once_for_each_generation() -> None:
    said: list[int] = []
    ending = Termination(
        Loop(),
        cast("Processes", Refused()),
        cast("ShimCalls", Known()),
        None,
        lambda _generation: signal.SIGTERM,
        lambda number, message, level=0, news=News.NOTE: said.append(number),
    )
    for generation in (1, 2):
        ending.kill(generation, "")
        ending.kill(generation, "")
        ending.forget(generation)
    assert said == [1, 2], "the pid of an ended process is another's by and by"
    assert not ending._refused, "nothing is kept of a generation that is gone"
