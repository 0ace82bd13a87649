"""Replaces the generation that serves when it no longer does: docs/watchdog.md."""

from __future__ import annotations

from sockact.core.message_kinds import News
from sockact.supervisor.base import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Phase
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.service.announcer import Announcer
    from sockact.supervisor.service.handovers import Handovers
    from sockact.supervisor.service.lifecycle import Lifecycle
    from sockact.supervisor.service.reports import Reports


class Guard:
    """What the watchdog looks at, and what it does: implements probes.watchdog.WatchedService."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        generations: Generations,
        handovers: Handovers,
        announcer: Announcer,
        reports: Reports,
    ) -> None:
        self._lifecycle = lifecycle
        self._generations = generations
        self._handovers = handovers
        self._announcer = announcer
        self._reports = reports

    def phase(self) -> Phase:
        """The phase of the service."""
        return self._lifecycle.service.phase

    def silent_for(self) -> float | None:
        """Seconds since the program's own last WATCHDOG=1; None when it never sent one."""
        serving = self._lifecycle.service.serving
        launched = self._generations.get(serving.number) if serving else None
        return launched.silent_for() if launched else None

    def ping(self) -> None:
        """Tell systemd that clients are served."""
        self._announcer.alive()

    def replace(self, wrong: str) -> None:
        """Start a new generation: it may do better."""
        self._say(f"{wrong}: it is replaced")
        self._handovers.replace("watchdog")

    def give_up(self, wrong: str) -> None:
        """Replacing has not helped: the pings stop, and systemd acts."""
        self._say(f"{wrong}; systemd is left to act")

    def _say(self, message: str) -> None:
        serving = self._lifecycle.service.serving
        self._reports.say(serving.number if serving else 0, message, report.ERROR, News.STUCK)
