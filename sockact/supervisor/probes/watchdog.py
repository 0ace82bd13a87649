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
    from collections.abc import Callable, Mapping

    from sockact.core.lifecycle.model import Exit
    from sockact.handover.accept_queues import AcceptQueues
    from sockact.supervisor.base.commands import Command
    from sockact.supervisor.base.loop import Loop

    # What is wrong with the generation that serves, "" for nothing.
    Look = Callable[[], str]


class Watchdog:
    """Pings every `interval` seconds, half of WatchdogSec=."""

    def __init__(
        self,
        loop: Loop,
        interval: float,
        queues: AcceptQueues,
        probe: tuple[Command, Mapping[str, str]] | None,
        silent_for: Callable[[], float | None],
    ) -> None:
        """`probe` is run before each ping; `silent_for` tells how long the program has not sent
        its own WATCHDOG=1, None when it never did.
        """
        self._loop = loop
        self._interval = interval
        self._queues = queues
        self._probe = probe and Attempts(loop, *probe, interval / 2, self._probed)
        self._silent_for = silent_for
        self._phase: Callable[[], Phase] = lambda: Phase.STARTING
        self._ping: Callable[[], None] = lambda: None
        self._steps: tuple[Callable[[str], None], ...] = ()
        self._taken = 0

    def start(
        self,
        phase: Callable[[], Phase],
        ping: Callable[[], None],
        replace: Callable[[str], None],
        give_up: Callable[[str], None],
    ) -> None:
        """`replace` is called with what is wrong, and `give_up` when that has not helped; once
        each, until nothing is wrong again.
        """
        self._phase, self._ping = phase, ping
        self._steps = (replace, give_up)
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
        phase = self._phase()
        if phase is Phase.STOPPED:
            return
        self._loop.at(time.monotonic() + self._interval, self._look)
        stuck = self._queues.stuck_for(time.monotonic())
        if phase is not Phase.SERVING:
            # Starts, reloads, stops and back-offs have bounds of their own.
            self._ping()
        elif stuck >= self._interval:
            self._judge(f"its accept queue has not moved for {stuck:.0f} s")
        elif (silent := self._silent_for()) is not None and silent > 2 * self._interval:
            self._judge(f"the program has sent no WATCHDOG=1 for {silent:.0f} s")
        elif self._probe:
            self._probe.begin()
        else:
            self._judge("")

    def _probed(self, reason: str) -> None:
        if self._phase() is Phase.SERVING:
            self._judge(reason and f"the watchdog's probe failed: {reason}")
        else:
            self._ping()

    def _judge(self, wrong: str) -> None:
        if not wrong:
            self._taken = 0
            self._ping()
        elif self._taken < len(self._steps):
            step = self._steps[self._taken]
            self._taken += 1
            if self._taken == 1:
                self._ping()
            step(wrong)
