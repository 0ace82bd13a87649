"""The configured proof of readiness: a command or an HTTP request, repeated until it passes.

The start timeout of the generation ends the attempts.
"""

from __future__ import annotations

import time

from sockact.supervisor import attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sockact.core.model import Exit
    from sockact.supervisor.attempt import Attempt, Command
    from sockact.supervisor.loop import Loop, Timer

_PAUSE = 0.2


def command_of(ready: str) -> Command:
    """The command behind --ready http://… or exec:…"""
    if ready.startswith("exec:"):
        return attempt.of_shell(ready[5:])
    return attempt.of_ours("http_probe.py", ready)


class Probe:
    """Attempts until one passes."""

    def __init__(
        self,
        loop: Loop,
        command: Command,
        environment: Mapping[str, str],
        passed: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        """`failed` hears of an attempt that failed otherwise than the one before."""
        self.reason = ""
        """How the last attempt failed."""
        self._loop = loop
        self._command = command
        self._environment = dict(environment)
        self._passed = passed
        self._failed = failed
        self._timer: Timer | None = None
        self._running: Attempt | None = None
        self._attempt()

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child has ended: perhaps the attempt under way."""
        if self._running is not None and self._running.pid == pid:
            running = self._running
            self._running = None
            running.ended(exit)

    def stop(self) -> None:
        """No more attempts; the one under way is killed."""
        if self._timer:
            self._timer.cancel()
        if self._running is not None:
            self._running.abandon()
            self._running = None

    def _done(self, reason: str) -> None:
        if reason:
            self._again(reason)
        else:
            self._passed()

    def _again(self, reason: str) -> None:
        self._timer = self._loop.at(time.monotonic() + _PAUSE, self._attempt)
        if reason != self.reason:
            self.reason = reason
            self._failed()

    def _attempt(self) -> None:
        try:
            self._running = attempt.Attempt(
                self._loop, self._command, self._environment, None, self._done
            )
        except OSError as error:
            # No process left (EAGAIN), or Python replaced meanwhile: it may work the next time.
            self._again(f"cannot be started: {error.strerror}")
