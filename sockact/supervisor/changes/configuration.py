"""Reads the configuration file again before each reload: docs/configuration.md.

A child reads it, as at the start, with the supervisor's own command line, so that the reader takes
no memory here. A reload begins only after the current one has ended: a generation is judged by the
settings that it was started with.
"""

from __future__ import annotations

import os
import sys
from functools import partial

from sockact.core.errors import OperatorError
from sockact.core.lifecycle.stop import STOPPING
from sockact.core.message_kinds import News
from sockact.core.settings import Settings, UnknownSetting
from sockact.supervisor.base import report
from sockact.supervisor.base.commands import Command, CommandRun
from sockact.supervisor.probes import warm_up
from sockact.supervisor.probes.probe_commands import trial_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.changes.request import Handovers, ReloadRequest


VARIABLE = "SOCKACT_READ"
"""If set: read the command line, write the settings to standard input, a memfd, and exit."""
_WITHIN = 30.0
"""Seconds."""
_LONGEST = 2000
_LARGEST = 1 << 20
_NEEDS_RESTART = (
    *("name", "listen", "lanes", "adopt", "watchdog_probe"),
    *("log", "log_stderr", "log_format", "move_connections"),
)


class ConfigurationReader:
    """Reads the file before each reload, once for all requests until then."""

    def __init__(
        self,
        loop: Loop,
        handovers: Handovers,
        environment: Mapping[str, str],
        listeners: Sequence[Listener],
        reporter: Reporter,
    ) -> None:
        self._loop = loop
        self._handovers = handovers
        self._environment = environment
        self._listeners = listeners
        self._reporter = reporter
        self._waiting: list[ReloadRequest] = []
        self._served: list[ReloadRequest] = []
        """The requests for which the file is being read."""
        self._attempt: CommandRun | None = None
        self._answer = -1

    def reload(self, request: ReloadRequest) -> Callable[[], None]:
        """Reload with the file as it is then; return a function for a caller that leaves."""
        self._waiting.append(request)
        self.look()
        return partial(self._leave, request)

    def busy(self) -> str:
        """Return what must end before an upgrade, or ""."""
        return "the configuration is being read" if self._waiting or self._attempt else ""

    def look(self) -> None:
        """Begin with waiting requests, if the current reload has ended."""
        if self._handovers.is_stopping():
            self.close()
        elif self._waiting and self._attempt is None and self._handovers.is_idle():
            self._served, self._waiting = self._waiting, []
            self._read()

    def close(self) -> None:
        """Refuse all requests, as the service stops."""
        if self._attempt:
            self._attempt.abandon()
            self._attempt = None
            os.close(self._answer)
        requests, self._served, self._waiting = self._served + self._waiting, [], []
        for one in requests:
            one.refuse(STOPPING)

    def _leave(self, request: ReloadRequest) -> None:
        request.leave()
        # The reload continues: one request has to stay for it, and no more.
        if len(self._waiting) > 1 and request in self._waiting:
            self._waiting.remove(request)

    def _read(self) -> None:
        words = (sys.executable, *sys.orig_argv[1:])
        environment = {**self._environment, VARIABLE: "1"}
        try:
            self._answer = os.memfd_create("sockact-settings")
        except OSError as error:
            self._refuse(f"cannot read the configuration: {error.strerror}")
            return
        command = Command(words, reports=True, stdin=self._answer, longest=_LONGEST)
        try:
            self._attempt = CommandRun(self._loop, command, environment, _WITHIN, self._was_read)
        except OSError as error:
            os.close(self._answer)
            self._refuse(f"cannot start {sys.executable}: {error.strerror}")

    def _was_read(self, reason: str) -> None:
        self._attempt = None
        data = os.pread(self._answer, _LARGEST, 0)
        os.close(self._answer)
        if reason:
            self._refuse(reason.removeprefix("sockact: "))
        elif not self._handovers.is_idle():
            # The program has crashed meanwhile. These settings must not affect that launch.
            self._waiting = self._served + self._waiting
            self._served = []
        else:
            self._apply(data)

    def _apply(self, data: bytes) -> None:
        before = self._handovers.settings()
        try:
            settings = Settings.from_json(data.decode())
            trial_command(settings, self._listeners)
            warm_up.check(settings, self._listeners)
            needs = "canary" if settings.canary else "warm"
            if getattr(settings, needs) and (why := self._handovers.lanes_missing()):
                raise OperatorError(f"{needs}: {why}")
        except UnknownSetting as error:
            self._refuse(
                f"{before.config}: {error}; the installed sockact is newer than this supervisor; "
                f"run `sockact upgrade {before.name}` first"
            )
            return
        except (OperatorError, TypeError, ValueError) as error:
            self._refuse(f"{before.config}: {error}")
            return
        for name in _NEEDS_RESTART:
            if getattr(settings, name) != getattr(before, name):
                key = name.replace("_", "-")
                self._refuse(f"{before.config}: {key} has changed, which needs a restart")
                return
        self._handovers.use(settings)
        served, self._served = self._served, []
        self._handovers.begin(served)

    def _refuse(self, reason: str) -> None:
        message = f"not reloaded: {reason}; nothing was changed"
        self._reporter.say(message, report.ERROR, news=News.RELOAD_FAILED)
        served, self._served = self._served, []
        for one in served:
            one.refuse(reason)
        self.look()
