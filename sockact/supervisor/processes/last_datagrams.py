"""Sends stop signals to processes between two datagrams.

Nothing shows that a datagram is being answered, and one that a process has taken is lost if the
signal ends it. So a process that receives datagrams is stopped for a moment while it waits for the
next one, and gets its signal then: docs/drain.md.
"""

from __future__ import annotations

import time
from functools import partial

from sockact.handover.interest import hold, let_go
from sockact.kernel.looks import Blocked
from sockact.supervisor.processes.processes import Signalled, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.base.retry import Retry
    from sockact.supervisor.processes.processes import Processes

_PATIENCE = 1.0
_PAUSE = 0.005


class LastDatagrams:
    """Sends signals to the generations of one service that receives datagrams."""

    def __init__(
        self,
        loop: Loop,
        retry: Retry,
        processes: Processes,
        inodes: set[int],
        patience: float = _PATIENCE,
    ) -> None:
        """`inodes` are the listeners for datagrams. `patience`: seconds after which a process that
        always has a datagram in hand gets its signal all the same.
        """
        self._loop = loop
        self._retry = retry
        self._processes = processes
        self._inodes = inodes
        self._patience = patience
        self._waiting: set[int] = set()

    def busy(self) -> bool:
        """Whether a process still waits for its signal."""
        return bool(self._waiting)

    def signal(self, generation: int, number: int, done: Callable[[Signalled], None]) -> None:
        """Signal as Processes.signal does, in a while perhaps, and call `done` with the result."""
        self._waiting.add(generation)
        until = time.monotonic() + self._patience
        self._attempt(generation, partial(self._send, generation, number, done, until, {}))

    def _attempt(self, generation: int, send: Callable[[], None]) -> None:
        self._retry.attempt((LastDatagrams, generation), send)

    def _send(
        self,
        generation: int,
        number: int,
        done: Callable[[Signalled], None],
        until: float,
        told: dict[int, Signalled],
    ) -> None:
        """Signal those that have no datagram in hand; come back for others. Raises Unavailable."""
        late = time.monotonic() >= until
        due = [pid for pid in self._processes.to_signal(generation) if pid not in told]
        for pid in due:
            held = None if late else self._hold(pid)
            try:
                if held is not False:
                    told[pid] = send([pid], number)
            finally:
                if held:
                    let_go(pid)
        if any(pid not in told for pid in due):
            again = partial(self._send, generation, number, done, until, told)
            self._loop.at(time.monotonic() + _PAUSE, partial(self._attempt, generation, again))
            return
        self._waiting.discard(generation)
        reached = tuple(pid for one in told.values() for pid in one.reached)
        done(Signalled(reached, tuple(pid for one in told.values() for pid in one.refused)))

    def _hold(self, pid: int) -> bool | None:
        """As `hold`; None if the kernel does not tell whether it has a datagram in hand."""
        try:
            return hold(pid, self._inodes)
        except Blocked:
            let_go(pid)  # It may have been stopped by the helper that was given up.
        except PermissionError:
            pass
        return None
