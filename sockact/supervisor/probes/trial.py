"""The watch over a generation on trial: its probe, and whether it takes what waits to be accepted.

docs/trial.md. Only what is found is reported; core/lifecycle/trial.py decides.
"""

from __future__ import annotations

import time

from sockact.core.errors import OperatorError
from sockact.core.matching import Kind
from sockact.core.record import dataclass
from sockact.handover.accept_queues import AcceptQueues
from sockact.supervisor.base import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sockact.core.lifecycle.model import Exit
    from sockact.core.settings import Settings
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.commands import Command
    from sockact.supervisor.base.loop import Loop, Timer

STUCK_AFTER = 5.0
"""Seconds: a queue that has not moved for this long is not worked off any more."""
_LOOK_EVERY = 1.0


def command_of(settings: Settings, listeners: list[Listener]) -> Command | None:
    """The command behind --probe, if there is one. Raises OperatorError."""
    wanted = (*settings.probe_status, settings.probe_body)
    return _command(settings.probe, settings.probe_timeout, listeners, *map(str, wanted))


def watchdog_command_of(settings: Settings, seconds: float) -> Command | None:
    """The command behind --watchdog-probe, if there is one."""
    return _command(settings.watchdog_probe, seconds, [])


def _command(probe: str, seconds: float, listeners: list[Listener], *wanted: str) -> Command | None:
    kind, _, rest = probe.partition(":")
    if not probe:
        return None
    if kind == "exec":
        return commands.of_shell(rest)
    if kind == "tcp":
        inet = [x.address for x in listeners if x.address.port and x.address.kind is Kind.STREAM]
        if not inet:
            raise OperatorError("--probe tcp: there is no TCP listener; use exec:COMMAND")
        words = [word for address in inet for word in (address.host, str(address.port))]
        return commands.of_ours(__file__, "tcp_probe.py", str(seconds), *words)
    return commands.of_ours(__file__, "http_probe.py", probe, str(seconds), *wanted)


@dataclass(frozen=True)
class Watch:
    """What is watched, and how often it is probed. Times in seconds."""

    command: Command | None
    environment: Mapping[str, str]
    listeners: list[Listener]
    interval: float
    timeout: float
    threshold: int
    """So many failures of the probe in a row end the trial."""


class Trial:
    """Probes at once and after each interval, and watches the accept queue, until stopped."""

    def __init__(
        self, loop: Loop, watch: Watch, passed: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._watch = watch
        self._passed = passed
        self._failed = failed
        self._queues = AcceptQueues(watch.listeners)
        self._failures = 0
        self._attempts = watch.command and commands.Attempts(
            loop, watch.command, watch.environment, watch.timeout, self._probed
        )
        self._timer: Timer | None = None
        self._queue_timer: Timer | None = None
        self._look_at_queue()
        self._probe()

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child has ended: perhaps the attempt under way."""
        if self._attempts:
            self._attempts.reaped(pid, exit)

    def stop(self) -> None:
        for timer in (self._timer, self._queue_timer):
            if timer:
                timer.cancel()
        if self._attempts:
            self._attempts.stop()

    def _look_at_queue(self) -> None:
        now = time.monotonic()
        self._queue_timer = self._loop.at(now + _LOOK_EVERY, self._look_at_queue)
        stuck = self._queues.stuck_for(now)
        if stuck >= STUCK_AFTER:
            self._failed(f"its accept queue has not moved for {stuck:.0f} s")

    def _probe(self) -> None:
        if self._attempts:
            self._timer = self._loop.at(time.monotonic() + self._watch.interval, self._probe)
            self._attempts.begin()

    def _probed(self, reason: str) -> None:
        if not reason:
            self._failures = 0
            self._passed()
            return
        self._failures += 1
        if self._failures >= self._watch.threshold:
            times = f" {self._failures} times in a row" if self._failures > 1 else ""
            self._failed(f"the probe failed{times}: {reason}")
