"""Asks the shims of a generation which of its connections are WebSockets.

To the kernel an idle WebSocket looks like an idle HTTP connection, which nobody misses.
"""

from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.processes.shim_calls import ShimCalls

_ORDER = "upgraded"


class WebSockets:
    """The questions to the shims of one service."""

    def __init__(self, calls: ShimCalls, gates: Gates) -> None:
        self._calls = calls
        self._gates = gates

    def ask(self, generation: int, told: Callable[[set[int]], None]) -> bool:
        """Ask all processes that have the shim and a listener; return whether there are any.

        `told` is called once, with the inodes of the sockets. A shim that does not answer, or does
        not know the question, has none.
        """
        try:
            pids = self._gates.with_shim(generation)
        except OSError:
            pids = []
        question = _Question(set(pids), told)
        for pid in pids:
            done = partial(question.answered, pid)
            self._calls.order(pid, _ORDER, done, heard=question.heard)
        return bool(pids)


class _Question:
    """The processes that have not answered yet, and the answers so far."""

    def __init__(self, waiting: set[int], told: Callable[[set[int]], None]) -> None:
        self._waiting = waiting
        self._told = told
        self._found: set[int] = set()

    def heard(self, answer: list[str]) -> None:
        """Take an answer: `upgraded INODE…`."""
        self._found.update(int(word) for word in answer[1:] if word.isdecimal() and len(word) < 20)

    def answered(self, pid: int, _error: str) -> None:
        """Take note that a process has answered, or will not."""
        if pid in self._waiting:
            self._waiting.discard(pid)
            if not self._waiting:
                self._told(self._found)
