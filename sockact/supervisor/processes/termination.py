"""Stops generations by signals, and reports it."""

from __future__ import annotations

import signal

from sockact.core.message_kinds import News
from sockact.supervisor.base import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.report import Say
    from sockact.supervisor.processes.processes import Processes, Signalled


class Termination:
    """Signals the generations of one service. Raises procfs.Unavailable."""

    def __init__(self, processes: Processes, stop_signal: Callable[[int], int], say: Say) -> None:
        """`stop_signal` returns the stop signal of a generation."""
        self._processes = processes
        self._stop_signal = stop_signal
        self._say = say
        self._refused: dict[int, set[tuple[signal.Signals, int]]] = {}

    def terminate(self, generation: int, reason: str) -> None:
        """Send the stop signal to the first process, or to all processes if it is gone."""
        number = signal.Signals(self._stop_signal(generation))
        done = self._processes.signal(generation, number)
        self._tell(generation, number, done, reason)

    def kill(self, generation: int, reason: str) -> None:
        """Send SIGKILL to every process of the generation."""
        done = self._processes.signal_all(generation, signal.SIGKILL)
        self._tell(generation, signal.SIGKILL, done, reason)

    def forget(self, generation: int) -> None:
        """Forget a generation that is gone."""
        self._refused.pop(generation, None)

    def _tell(self, generation: int, sent: signal.Signals, done: Signalled, reason: str) -> None:
        if done.reached and reason:
            self._say(generation, f"{reason}, sending {sent.name}", report.INFO, News.SIGNALLED)
        told = self._refused.get(generation, set())
        if refused := [pid for pid in done.refused if (sent, pid) not in told]:
            self._refused[generation] = told | {(sent, pid) for pid in refused}
            pids = ", ".join(map(str, refused))
            message = f"the kernel refuses to send {sent.name} to process {pids}"
            self._say(generation, message, report.NOTICE)
