"""Ending generations by signals, and what the journal says of it."""

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
    """Sends the signals of one service. Raises procfs.Unavailable."""

    def __init__(self, processes: Processes, stop_signal: Callable[[int], int], say: Say) -> None:
        """`stop_signal` tells that of a generation."""
        self._processes = processes
        self._stop_signal = stop_signal
        self._say = say
        self._refused: dict[int, set[tuple[signal.Signals, int]]] = {}

    def terminate(self, generation: int, reason: str) -> None:
        """Ask its first process to end; all of them, once that is gone."""
        number = signal.Signals(self._stop_signal(generation))
        done = self._processes.signal(generation, number)
        self._tell(generation, number, done, reason)

    def kill(self, generation: int, reason: str) -> None:
        """SIGKILL to every process of the generation."""
        done = self._processes.signal_all(generation, signal.SIGKILL)
        self._tell(generation, signal.SIGKILL, done, reason)

    def forget(self, generation: int) -> None:
        """It is gone."""
        self._refused.pop(generation, None)

    def _tell(self, generation: int, sent: signal.Signals, done: Signalled, reason: str) -> None:
        if done.reached and reason:
            self._say(generation, f"{sent.name}: {reason}", report.INFO, News.SIGNALLED)
        told = self._refused.get(generation, set())
        if refused := [pid for pid in done.refused if (sent, pid) not in told]:
            self._refused[generation] = told | {(sent, pid) for pid in refused}
            pids = ", ".join(map(str, refused))
            message = f"{sent.name} is refused by the kernel for process {pids}"
            self._say(generation, message, report.NOTICE)
