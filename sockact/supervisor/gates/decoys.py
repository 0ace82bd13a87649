"""Lays decoys under the listeners of Python programs before they get their stop signal.

A listener that was taken out of epoll from outside is still at its descriptor. C code in the
program (gRPC's, say) may call shutdown() on it when the program ends, which ends it for all
generations. With a decoy at the descriptor, that has no effect: docs/gate.md.
"""

from __future__ import annotations

import time
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.processes.shim_calls import ShimCalls

_PATIENCE = 0.5
"""Seconds to wait for the shims. A program that does not answer gets its stop signal all the same.
"""


class Decoys:
    """Orders decoys for the generations of one service."""

    def __init__(
        self, loop: Loop, calls: ShimCalls, gates: Gates, listeners: list[Listener]
    ) -> None:
        self._loop = loop
        self._calls = calls
        self._gates = gates
        self._words = " ".join(["gate closed all", *(str(x.inode) for x in listeners)])

    def lay(self, generation: int, then: Callable[[], None]) -> None:
        """Lay decoys in each process that has the shim and a listener, then call `then` once."""
        try:
            pids = self._gates.with_shim(generation)
        except OSError:
            pids = []
        laying = _Laying(set(pids), then)
        if pids:
            laying.timer = self._loop.at(time.monotonic() + _PATIENCE, laying.expired)
        else:
            then()
        for pid in pids:
            self._calls.order(pid, self._words, partial(laying.answered, pid))


class _Laying:
    """The processes whose answers are awaited, and what follows."""

    timer: Timer

    def __init__(self, waiting: set[int], then: Callable[[], None]) -> None:
        self._waiting = waiting
        self._then = then

    def answered(self, pid: int, _error: str) -> None:
        """Take note that a process has carried out its order, or cannot."""
        if pid in self._waiting:
            self._waiting.discard(pid)
            if not self._waiting:
                self.timer.cancel()
                self._then()

    def expired(self) -> None:
        """Wait no longer."""
        self._waiting.clear()
        self._then()
