"""Reloads of a service that has a configuration file: it is read anew before each.

docs/configuration.md. A child reads it, as at the start, so that nothing of that stays here; the
command line is ours. Nobody's reload begins before the one under way is over: a generation is
judged by the settings that it was started with.
"""

from __future__ import annotations

import os
import sys

from sockact.core.errors import OperatorError
from sockact.core.lifecycle.turn import STOPPING
from sockact.core.news import News
from sockact.core.settings import Settings, UnknownSetting
from sockact.supervisor.base import report
from sockact.supervisor.base.commands import Command, CommandRun
from sockact.supervisor.probes.probe_commands import trial_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from sockact.core.lifecycle.model import Exit
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.changes.request import ReloadRequest

    class Handovers(Protocol):
        """What the configuration is read for."""

        def is_stopping(self) -> bool:
            """Will there be no reload any more?"""

        def is_idle(self) -> bool:
            """Is no generation starting or on trial?"""

        def settings(self) -> Settings:
            """Those of the generation that serves."""

        def use(self, settings: Settings) -> None:
            """From now on, and for the next generation."""

        def begin(self, requests: list[ReloadRequest]) -> None:
            """One reload for all of them."""


VARIABLE = "SOCKACT_READ"
"""With any value: read the command line, write the settings to stdin, which is a memfd, and end."""
_WITHIN = 30.0
_LONGEST = 2000
_LARGEST = 1 << 20
_NEEDS_RESTART = (
    *("name", "listen", "adopt", "watchdog_probe"),
    *("log", "log_stderr", "log_format"),
)


class ConfigurationReader:
    """Reads the file before each reload, once for all who ask until it is read. Where there is no
    file, a reload begins at once.
    """

    def __init__(
        self,
        loop: Loop,
        handovers: Handovers,
        environment: Mapping[str, str],
        listeners: list[Listener],
        reporter: Reporter,
    ) -> None:
        self._loop = loop
        self._handovers = handovers
        self._environment = environment
        self._listeners = listeners
        self._reporter = reporter
        self._waiting: list[ReloadRequest] = []
        self._served: list[ReloadRequest] = []
        """Those for whom the file is being read now."""
        self._attempt: CommandRun | None = None
        self._answer = -1

    def reload(self, request: ReloadRequest) -> Callable[[], None]:
        """Reload with what the file says then; what it returns is for a caller that leaves."""
        if self._handovers.settings().config:
            self._waiting.append(request)
            self.look()
        else:
            self._handovers.begin([request])
        return request.leave

    def busy(self) -> str:
        """What another version of us would not know of, "" for nothing."""
        return "the configuration is read" if self._waiting or self._attempt else ""

    def look(self) -> None:
        """Something may have ended: begin, if somebody waits for that."""
        if self._handovers.is_stopping():
            self.close()
        elif self._waiting and self._attempt is None and self._handovers.is_idle():
            self._served, self._waiting = self._waiting, []
            self._read()

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child has ended: perhaps the one that reads."""
        if self._attempt is not None:
            self._attempt.reaped(pid, exit)

    def close(self) -> None:
        """The service stops."""
        if self._attempt:
            self._attempt.abandon()
            self._attempt = None
            os.close(self._answer)
        requests, self._served, self._waiting = self._served + self._waiting, [], []
        for one in requests:
            one.refuse(STOPPING)

    def _read(self) -> None:
        words = (sys.executable, *sys.orig_argv[1:])
        environment = {**self._environment, VARIABLE: "1"}
        try:
            self._answer = os.memfd_create("sockact-settings")
        except OSError as error:
            self._refuse(f"the configuration cannot be read: {error.strerror}")
            return
        command = Command(words, reports=True, stdin=self._answer, longest=_LONGEST)
        try:
            self._attempt = CommandRun(self._loop, command, environment, _WITHIN, self._was_read)
        except OSError as error:
            os.close(self._answer)
            self._refuse(f"{sys.executable} cannot be started: {error.strerror}")

    def _was_read(self, reason: str) -> None:
        self._attempt = None
        data = os.pread(self._answer, _LARGEST, 0)
        os.close(self._answer)
        if reason:
            self._refuse(reason.removeprefix("sockact: "))
        elif not self._handovers.is_idle():
            # The program has crashed meanwhile. What is read must not decide over that launch.
            self._waiting = self._served + self._waiting
            self._served = []
        else:
            self._apply(data)

    def _apply(self, data: bytes) -> None:
        before = self._handovers.settings()
        try:
            settings = Settings.from_json(data.decode())
            trial_command(settings, self._listeners)
        except UnknownSetting as error:
            self._refuse(
                f"{before.config}: {error}: sockact on disk is newer than this supervisor; run "
                f"`sockact upgrade {before.name}` first"
            )
            return
        except (OperatorError, TypeError, ValueError) as error:
            self._refuse(f"{before.config}: {error}")
            return
        for name in _NEEDS_RESTART:
            if getattr(settings, name) != getattr(before, name):
                key = name.replace("_", "-")
                self._refuse(f"{before.config}: {key} is not what it was: that takes a restart")
                return
        self._handovers.use(settings)
        served, self._served = self._served, []
        self._handovers.begin(served)

    def _refuse(self, reason: str) -> None:
        message = f"not reloaded: {reason}; everything goes on as it was"
        self._reporter.say(message, report.ERROR, news=News.RELOAD_FAILED)
        served, self._served = self._served, []
        for one in served:
            one.refuse(reason)
        self.look()
