"""Replaces the serving generation when it no longer serves: docs/watchdog.md."""

from __future__ import annotations

from sockact.core.message_kinds import News
from sockact.core.record import dataclass
from sockact.supervisor.base import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Phase
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.service.announcer import Announcer
    from sockact.supervisor.service.handovers import Handovers
    from sockact.supervisor.service.lifecycle import Lifecycle
    from sockact.supervisor.service.reports import Reports


@dataclass
class Guard:
    """The service as the watchdog sees it: implements probes.watchdog.WatchedService."""

    _lifecycle: Lifecycle
    _generations: Generations
    _handovers: Handovers
    _announcer: Announcer
    _reports: Reports

    def phase(self) -> Phase:
        """Return the phase of the service."""
        return self._lifecycle.service.phase

    def is_paused(self) -> bool:
        """Whether the operator has paused the service."""
        return self._lifecycle.service.is_paused

    def silent_for(self) -> float | None:
        """Return the seconds since the program's last WATCHDOG=1; None if it has never sent one."""
        serving = self._lifecycle.service.serving
        launched = self._generations.get(serving.number) if serving else None
        return launched.silent_for() if launched else None

    def ping(self) -> None:
        """Tell systemd that clients are served."""
        self._announcer.alive()

    def replace(self, problem: str) -> None:
        """Replace the serving generation with a new one."""
        self._say(f"{problem}; replacing it")
        self._handovers.replace("watchdog")

    def give_up(self, problem: str) -> None:
        """Report that replacing did not help. The watchdog stops pinging, and systemd acts."""
        self._say(f"{problem}; replacing it did not help, leaving the restart to systemd")

    def _say(self, message: str) -> None:
        serving = self._lifecycle.service.serving
        self._reports.say(serving.number if serving else 0, message, report.ERROR, News.STUCK)
