"""Notices that the serving generation no longer waits for connections, after a shutdown() of a
listener: docs/gate.md.

The kernel does not report that a program has stopped accepting. But its usual cause is seen: the
program shuts its listener down, or meets one that another has shut down, and gives up. After that
the generation is looked at for a moment; at other times nothing is done.
"""

from __future__ import annotations

import time

from sockact.core.matching import Kind
from sockact.handover.interest import interest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.processes.processes import Processes

_EVERY = 0.1
_WATCHED_FOR = 1.5
"""Seconds for which the generation is looked at. Events less than a second apart may be one."""
_DEAF_FOR = 1.0
"""Seconds without a look that finds it waiting. A thread that has just accepted does not wait."""
_PAUSE = 10.0
"""Seconds from one report to the next, so that a program which always does this is not replaced
without end."""
_LONGEST = 600.0
"""Seconds after which a handover in progress is no longer waited for."""


class AcceptWatch:
    """Looks at the generation that serves, when there is a reason to."""

    def __init__(
        self,
        loop: Loop,
        processes: Processes,
        listeners: Callable[[int], Iterable[Listener]],
        serving: Callable[[], int | None],
        deaf: Callable[[int, Listener], None],
    ) -> None:
        """`listeners` returns those of a generation, `serving` the generation that has to accept,
        None while that may change. `deaf` is called with a listener that it no longer waits on.
        """
        self._loop = loop
        self._processes = processes
        self._listeners_of = listeners
        self._listeners: dict[int, Listener] = {}
        self._serving = serving
        self._deaf = deaf
        self._looking = False
        self._number: int | None = None
        self._waited: dict[int, float] = {}
        """When it was last seen waiting, by listener."""
        self._since = 0.0
        self._reported_at: float | None = None

    def suspect(self) -> None:
        """Look at the serving generation: a listener was shut down, or nearly so."""
        self._since = time.monotonic()
        if not self._looking:
            self._looking = True
            self._loop.at(time.monotonic() + _EVERY, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        number = self._serving()
        if number is None and now - self._since < _LONGEST:
            self._number = None  # What was seen before says nothing of what follows.
            self._loop.at(now + _EVERY, self._look)
        elif number is None or not self._judge(number, now):
            self._looking, self._number = False, None
        else:
            self._loop.at(now + _EVERY, self._look)

    def _judge(self, number: int, now: float) -> bool:
        """Report the generation if it is deaf; return whether to look again."""
        if number != self._number:
            self._number, self._since = number, now
            found = self._listeners_of(number)
            self._listeners = {x.inode: x for x in found if x.address.kind is Kind.STREAM}
            self._waited = dict.fromkeys(self._listeners, now)
        try:
            seen, unreadable = interest(self._processes.of(number), {*self._listeners})
        except OSError:
            return now - self._since < _LONGEST
        if unreadable and not seen:
            return False
        self._waited.update(dict.fromkeys(seen & self._waited.keys(), now))
        inode, since = min(self._waited.items(), key=lambda item: item[1], default=(0, now))
        if now - since < _DEAF_FOR:
            return since < now or now - self._since < _WATCHED_FOR
        if self._reported_at is not None and now - self._reported_at < _PAUSE:
            return True
        self._reported_at = now
        self._deaf(number, self._listeners[inode])
        return False
