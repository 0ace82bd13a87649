"""Stops generations by signals, and reports it."""

from __future__ import annotations

import contextlib
import signal
import time
from functools import partial

from sockact.core.message_kinds import News
from sockact.supervisor.base import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.base.report import Say
    from sockact.supervisor.processes.last_datagrams import LastDatagrams
    from sockact.supervisor.processes.processes import Processes, Signalled
    from sockact.supervisor.processes.shim_calls import ShimCalls

_NUDGES = (0.1, 1.0)
"""Seconds from the stop signal to each nudge: the second for processes that others have told."""


class Termination:
    """Signals the generations of one service. Raises procfs.Unavailable."""

    def __init__(
        self,
        loop: Loop,
        processes: Processes,
        calls: ShimCalls,
        last_datagrams: LastDatagrams | None,
        stop_signal: Callable[[int], int],
        say: Say,
    ) -> None:
        """`last_datagrams`: if a listener is for datagrams. `stop_signal` returns the stop signal
        of a generation.
        """
        self._loop = loop
        self._processes = processes
        self._calls = calls
        self._last_datagrams = last_datagrams
        self._stop_signal = stop_signal
        self._say = say
        self._refused: dict[int, set[tuple[signal.Signals, int]]] = {}
        self._nudges: dict[int, list[Timer]] = {}

    def busy(self) -> bool:
        """Whether a stop signal is still to be sent."""
        return self._last_datagrams is not None and self._last_datagrams.busy()

    def terminate(self, generation: int, reason: str, *, at_once: bool = True) -> None:
        """Send the stop signal to the first process, or to all processes if it is gone; unless
        `at_once`, to one that receives datagrams in a moment in which it answers none.
        """
        number = signal.Signals(self._stop_signal(generation))
        done = partial(self._terminated, generation, number, reason)
        if at_once or self._last_datagrams is None:
            done(self._processes.signal(generation, number))
        else:
            self._last_datagrams.signal(generation, number, done)

    def _terminated(
        self, generation: int, sent: signal.Signals, reason: str, done: Signalled
    ) -> None:
        self._tell(generation, sent, reason, done)
        now, nudge = time.monotonic(), partial(self._nudge, generation)
        self._nudges[generation] = [self._loop.at(now + pause, nudge) for pause in _NUDGES]

    def _nudge(self, generation: int) -> None:
        """Have Python programs notice the stop signal: one that arrives just before a system call
        that blocks is noticed only after that call.
        """
        for pid in self._processes.of(generation):
            # What is not known of a process now, or refused, is not worth another attempt.
            with contextlib.suppress(OSError):
                self._calls.nudge(pid, generation)

    def kill(self, generation: int, reason: str) -> None:
        """Send SIGKILL to every process of the generation."""
        done = self._processes.signal_all(generation, signal.SIGKILL)
        self._tell(generation, signal.SIGKILL, reason, done)

    def forget(self, generation: int) -> None:
        """Forget a generation that is gone."""
        self._refused.pop(generation, None)
        for timer in self._nudges.pop(generation, ()):
            timer.cancel()
        self._calls.forget_generation(generation)

    def _tell(self, generation: int, sent: signal.Signals, reason: str, done: Signalled) -> None:
        if done.reached and reason:
            self._say(generation, f"{reason}, sending {sent.name}", report.INFO, News.SIGNALLED)
        told = self._refused.get(generation, set())
        if refused := [pid for pid in done.refused if (sent, pid) not in told]:
            self._refused[generation] = told | {(sent, pid) for pid in refused}
            pids = ", ".join(map(str, refused))
            message = f"the kernel refuses to send {sent.name} to process {pids}"
            self._say(generation, message, report.NOTICE)
