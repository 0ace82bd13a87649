"""An engine with systemd's watchdog: docs/watchdog.md."""

from __future__ import annotations

from sockact.core.lifecycle import events
from sockact.core.message_kinds import News
from sockact.handover.accept_queues import AcceptQueues
from sockact.supervisor.base import report
from sockact.supervisor.probes.trial import watchdog_command_of
from sockact.supervisor.probes.watchdog import Watchdog
from sockact.supervisor.processes.environment import probe_environment
from sockact.supervisor.service.performer import Engine


class Guarded(Engine):
    """One service."""

    _watchdog: Watchdog | None = None

    def _start_watchdog(self, interval: float | None) -> None:
        if interval:
            self._watchdog = self._make_watchdog(interval)
            self._watches.append(self._watchdog)
            self._watchdog.start(
                lambda: self._service.phase,
                self._announcer.alive,
                self._replace_serving,
                self._leave_to_systemd,
            )

    def _make_watchdog(self, interval: float) -> Watchdog:
        settings = self._context.settings
        command = watchdog_command_of(settings, interval / 2)
        environment = probe_environment(self._context.environment, settings.name)
        return Watchdog(
            self._loop,
            interval,
            AcceptQueues(self._listeners),
            (command, environment) if command else None,
            self._silent_for,
        )

    def _silent_for(self) -> float | None:
        serving = self._service.serving
        launched = self._launched.get(serving.number) if serving else None
        return launched.silent_for() if launched else None

    def _replace_serving(self, wrong: str) -> None:
        self._say_of_serving(f"{wrong}: it is replaced")
        self._history.ledger.asked(self._service, "watchdog")
        self.handle(events.Reload())

    def _leave_to_systemd(self, wrong: str) -> None:
        self._say_of_serving(f"{wrong}; systemd is left to act")

    def _say_of_serving(self, message: str) -> None:
        serving = self._service.serving
        self._say(serving.number if serving else 0, message, report.ERROR, News.STUCK)
