"""The watch over a generation on trial: its probe, and whether it takes what waits to be accepted.

docs/trial.md. Only what is found is reported; core/trial.py decides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sockact.core.errors import OperatorError
from sockact.core.matching import Kind
from sockact.handover.stuck import longest_wait
from sockact.supervisor import attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sockact.core.model import Exit
    from sockact.core.settings import Settings
    from sockact.kernel.listener import Listener
    from sockact.supervisor.attempt import Attempt, Command
    from sockact.supervisor.loop import Loop, Timer

STUCK_AFTER = 5.0
"""Seconds: a client that waits this long to be accepted waits in vain."""
_LOOK_EVERY = 1.0


def command_of(settings: Settings, listeners: list[Listener]) -> Command | None:
    """The command behind --probe, if there is one. Raises OperatorError."""
    kind, _, rest = settings.probe.partition(":")
    if not settings.probe:
        return None
    if kind == "exec":
        return attempt.of_shell(rest)
    if kind == "tcp":
        inet = [x.address for x in listeners if x.address.port and x.address.kind is Kind.STREAM]
        if not inet:
            raise OperatorError("--probe tcp: there is no TCP listener; use exec:COMMAND")
        words = [word for address in inet for word in (address.host, str(address.port))]
        return attempt.of_ours("tcp_probe.py", str(settings.probe_timeout), *words)
    wanted = (settings.probe_timeout, *settings.probe_status, settings.probe_body)
    return attempt.of_ours("http_probe.py", settings.probe, *map(str, wanted))


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
        self._failures = 0
        self._running: Attempt | None = None
        self._timer: Timer | None = None
        self._queue_timer = loop.at(time.monotonic() + STUCK_AFTER, self._look_at_queue)
        self._probe()

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child has ended: perhaps the attempt under way."""
        if self._running is not None and self._running.pid == pid:
            running = self._running
            self._running = None
            running.ended(exit)

    def stop(self) -> None:
        self._queue_timer.cancel()
        if self._timer:
            self._timer.cancel()
        if self._running is not None:
            self._running.abandon()
            self._running = None

    def _look_at_queue(self) -> None:
        self._queue_timer = self._loop.at(time.monotonic() + _LOOK_EVERY, self._look_at_queue)
        waited = longest_wait(self._watch.listeners)
        if waited >= STUCK_AFTER:
            self._failed(f"a client has been waiting for {waited:.0f} s to be accepted")

    def _probe(self) -> None:
        if self._watch.command is None:
            return
        self._timer = self._loop.at(time.monotonic() + self._watch.interval, self._probe)
        if self._running is None:
            self._attempt(self._watch.command)

    def _attempt(self, command: Command) -> None:
        watch = self._watch
        try:
            self._running = attempt.Attempt(
                self._loop, command, watch.environment, watch.timeout, self._probed
            )
        except OSError as error:
            self._probed(f"cannot be started: {error.strerror}")

    def _probed(self, reason: str) -> None:
        if not reason:
            self._failures = 0
            self._passed()
            return
        self._failures += 1
        if self._failures >= self._watch.threshold:
            times = f" {self._failures} times in a row" if self._failures > 1 else ""
            self._failed(f"the probe failed{times}: {reason}")
