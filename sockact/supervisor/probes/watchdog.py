"""Pings systemd's watchdog for as long as clients are served, not just for as long as a timer runs.

docs/watchdog.md. The first answer to a problem is a handover: a new generation may do better. Only
when that has not helped do the pings stop, and systemd acts (WatchdogSec= of systemd.service(5)).
"""

from __future__ import annotations

import time
from functools import partial

from sockact.core.lifecycle.model import Phase
from sockact.supervisor.base.commands import CommandRun
from sockact.supervisor.probes.attempts import Attempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from sockact.handover.accept_queues import AcceptQueues
    from sockact.supervisor.base.commands import Command
    from sockact.supervisor.base.loop import Loop

    class WatchedService(Protocol):
        """The service that the watchdog checks."""

        def phase(self) -> Phase:
            """Return its phase."""

        def is_paused(self) -> bool:
            """Whether the operator has paused it, so that nobody accepts connections."""

        def silent_for(self) -> float | None:
            """Return the seconds since the program's last WATCHDOG=1; None if it never sent one."""

        def ping(self) -> None:
            """Tell systemd that clients are served."""

        def replace(self, problem: str) -> None:
            """Replace the generation that has this problem: the first answer."""

        def give_up(self, problem: str) -> None:
            """Stop the pings because of this problem: the last answer."""


class Watchdog:
    """Pings every `interval` seconds, half of WatchdogSec=."""

    def __init__(
        self,
        loop: Loop,
        interval: float,
        queues: AcceptQueues,
        probe: tuple[Command, Mapping[str, str]] | None,
        service: WatchedService,
    ) -> None:
        """`probe` runs before each ping. `replace` and `give_up` of `service` are called once each
        for a problem; after a ping without one, they are available again.
        """
        self._loop = loop
        self._interval = interval
        self._queues = queues
        self._probe = probe and Attempts(
            partial(CommandRun, loop, *probe, interval / 2), self._probed
        )
        self._service = service
        self._answers = (service.replace, service.give_up)
        self._taken = 0

    def start(self) -> None:
        """Ping now, and then every `interval` seconds."""
        self._look()

    def busy(self) -> bool:
        """Whether a probe is in progress."""
        return self._probe is not None and self._probe.in_progress

    def close(self) -> None:
        """Kill the current probe."""
        if self._probe:
            self._probe.stop()

    def _look(self) -> None:
        phase = self._service.phase()
        if phase is Phase.STOPPED:
            return
        self._loop.at(time.monotonic() + self._interval, self._look)
        stuck = self._queues.stuck_for(time.monotonic())
        if self._service.is_paused():
            self._queues.forget()  # Those who wait now are nobody's fault.
            self._service.ping()
        elif phase is not Phase.SERVING:
            # Starts, reloads, stops and back-offs have time limits of their own.
            self._service.ping()
        elif stuck >= self._interval:
            self._judge(f"not accepting connections for {stuck:.0f} s")
        elif (silent := self._service.silent_for()) is not None and silent > 2 * self._interval:
            self._judge(f"no WATCHDOG=1 from the program for {silent:.0f} s")
        elif self._probe:
            self._probe.begin()
        else:
            self._judge("")

    def _probed(self, reason: str) -> None:
        if self._service.phase() is Phase.SERVING and not self._service.is_paused():
            self._judge(reason and f"the watchdog probe failed: {reason}")
        else:
            self._service.ping()

    def _judge(self, problem: str) -> None:
        if not problem:
            self._taken = 0
            self._service.ping()
        elif self._taken < len(self._answers):
            answer = self._answers[self._taken]
            self._taken += 1
            if self._taken == 1:
                self._service.ping()
            answer(problem)
