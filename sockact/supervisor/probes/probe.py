"""The configured proof of readiness: a command or an HTTP request, repeated until it passes.

The start timeout of the generation ends the attempts.
"""

from __future__ import annotations

import time

from sockact.supervisor.base import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sockact.core.lifecycle.model import Exit
    from sockact.supervisor.base.commands import Command
    from sockact.supervisor.base.loop import Loop, Timer

_PAUSE = 0.2


def command_of(ready: str) -> Command:
    """The command behind --ready http://… or exec:…"""
    if ready.startswith("exec:"):
        return commands.of_shell(ready[5:])
    return commands.of_ours(__file__, "http_probe.py", ready)


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
        self._attempts = commands.Attempts(loop, command, environment, None, self._done)
        self._passed = passed
        self._failed = failed
        self._timer: Timer | None = None
        self._attempts.begin()

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child has ended: perhaps the attempt under way."""
        self._attempts.reaped(pid, exit)

    def stop(self) -> None:
        """No more attempts; the one under way is killed."""
        if self._timer:
            self._timer.cancel()
        self._attempts.stop()

    def _done(self, reason: str) -> None:
        if not reason:
            self._passed()
            return
        self._timer = self._loop.at(time.monotonic() + _PAUSE, self._attempts.begin)
        if reason != self.reason:
            self.reason = reason
            self._failed()
