"""The watchdog of systemd hears WATCHDOG=1 as long as clients are served, not as long as a timer
runs. docs/watchdog.md.

What keeps the pings back is first answered by a handover: a new generation may do better. Only when
that has failed do the pings stop, and systemd acts (WatchdogSec= of systemd.service(5)).
"""

from __future__ import annotations

import time

from sockact.core.lifecycle.model import Phase
from sockact.supervisor.base.commands import Attempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from sockact.core.lifecycle.model import Exit
    from sockact.handover.accept_queues import AcceptQueues
    from sockact.supervisor.base.commands import Command
    from sockact.supervisor.base.loop import Loop

    class Guarded(Protocol):
        """The service that the watchdog looks at."""

        def phase(self) -> Phase:
            """Its phase."""

        def silent_for(self) -> float | None:
            """Seconds since the program's own last WATCHDOG=1; None when it never sent one."""

        def ping(self) -> None:
            """Tell systemd that clients are served."""

        def replace(self, wrong: str) -> None:
            """The first answer to what is wrong."""

        def give_up(self, wrong: str) -> None:
            """The last one, when that has not helped."""


class Watchdog:
    """Pings every `interval` seconds, half of WatchdogSec=."""

    def __init__(
        self,
        loop: Loop,
        interval: float,
        queues: AcceptQueues,
        probe: tuple[Command, Mapping[str, str]] | None,
        guarded: Guarded,
    ) -> None:
        """`probe` is run before each ping. `replace` and `give_up` of `guarded` are called once
        each, until nothing is wrong again.
        """
        self._loop = loop
        self._interval = interval
        self._queues = queues
        self._probe = probe and Attempts(loop, *probe, interval / 2, self._probed)
        self._guarded = guarded
        self._steps = (guarded.replace, guarded.give_up)
        self._taken = 0

    def start(self) -> None:
        """Ping now, and every `interval` seconds from now on."""
        self._look()

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child has ended: perhaps an attempt of the probe."""
        if self._probe:
            self._probe.reaped(pid, exit)

    def busy(self) -> bool:
        """Is an attempt of the probe under way?"""
        return self._probe is not None and self._probe.under_way

    def close(self) -> None:
        if self._probe:
            self._probe.stop()

    def _look(self) -> None:
        phase = self._guarded.phase()
        if phase is Phase.STOPPED:
            return
        self._loop.at(time.monotonic() + self._interval, self._look)
        stuck = self._queues.stuck_for(time.monotonic())
        if phase is not Phase.SERVING:
            # Starts, reloads, stops and back-offs have bounds of their own.
            self._guarded.ping()
        elif stuck >= self._interval:
            self._judge(f"its accept queue has not moved for {stuck:.0f} s")
        elif (silent := self._guarded.silent_for()) is not None and silent > 2 * self._interval:
            self._judge(f"the program has sent no WATCHDOG=1 for {silent:.0f} s")
        elif self._probe:
            self._probe.begin()
        else:
            self._judge("")

    def _probed(self, reason: str) -> None:
        if self._guarded.phase() is Phase.SERVING:
            self._judge(reason and f"the watchdog's probe failed: {reason}")
        else:
            self._guarded.ping()

    def _judge(self, wrong: str) -> None:
        if not wrong:
            self._taken = 0
            self._guarded.ping()
        elif self._taken < len(self._steps):
            step = self._steps[self._taken]
            self._taken += 1
            if self._taken == 1:
                self._guarded.ping()
            step(wrong)
