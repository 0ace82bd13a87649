"""The configured proof of readiness: a command or an HTTP request, repeated until it passes.

Each attempt is a process of its own; the supervisor only hears how it ended. The start timeout of
the generation ends the attempts.
"""

from __future__ import annotations

import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sockact.core.model import Exit
    from sockact.supervisor.loop import Loop, Timer

_PAUSE = 0.2
_HTTP_PROBE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "http_probe.py")
# What the exit statuses of http_probe mean.
_SEEN = {
    3: "found nobody who answers",
    4: "got a status other than 200 to 399",
    5: "got an answer that is not HTTP",
}


def command_of(ready: str) -> tuple[str, ...]:
    """The command behind --ready http://… or exec:…"""
    if ready.startswith("exec:"):
        return ("/bin/sh", "-c", ready[5:])
    return (sys.executable, "-I", "-S", _HTTP_PROBE, ready)


class Probe:
    """Attempts until one passes."""

    def __init__(
        self,
        loop: Loop,
        command: tuple[str, ...],
        environment: Mapping[str, str],
        passed: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        """`failed` hears of an attempt that failed otherwise than the one before."""
        self.reason = ""
        """How the last attempt failed."""
        self._loop = loop
        self._command = command
        self._http = _HTTP_PROBE in command
        self._environment = dict(environment)
        self._passed = passed
        self._failed = failed
        self._timer: Timer | None = None
        self.pid: int | None = None
        self._attempt()

    def ended(self, exit: Exit) -> None:
        """The attempt `pid` has been reaped."""
        self.pid = None
        if exit.clean:
            self._passed()
        else:
            self._again(_SEEN.get(exit.code, str(exit)) if self._http else str(exit))

    def stop(self) -> None:
        """No more attempts; the one under way is killed, and reaped like any child."""
        if self._timer:
            self._timer.cancel()
        if self.pid is not None:
            # It leads a group of its own, and is not reaped yet: the number is not another's.
            os.killpg(self.pid, signal.SIGKILL)

    def _again(self, reason: str) -> None:
        self._timer = self._loop.at(time.monotonic() + _PAUSE, self._attempt)
        if reason != self.reason:
            self.reason = reason
            self._failed()

    def _attempt(self) -> None:
        null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
        try:
            self.pid = os.posix_spawn(
                self._command[0],
                self._command,
                self._environment,
                file_actions=null,
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except OSError as error:
            # No process left (EAGAIN), or Python replaced meanwhile: it may work the next time.
            self._again(f"cannot be started: {error.strerror}")
