"""What a supervisor holds from before it serves until its end."""

from __future__ import annotations

from sockact.core.message_kinds import News
from sockact.core.record import dataclass
from sockact.supervisor.base import report
from sockact.supervisor.processes import fd_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.settings import Settings
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.control.claim import Claim
    from sockact.systemd.notify import Notifier


@dataclass
class Resources:
    """The settings, the listeners, and the ways to reach systemd and the operator."""

    settings: Settings
    reporter: Reporter
    claim: Claim
    notifier: Notifier
    listeners: list[Listener]

    def notice(self, message: str, news: News = News.NOTE) -> None:
        """Report something about the service as a whole."""
        self.reporter.say(message, report.NOTICE, news=news)

    def release(self, status: int | None) -> None:
        """Close everything. `status` is the exit status of the service; None if it failed."""
        fd_store.close_listeners(self.listeners, self.notifier, ended=status == 0)
        self.notifier.close()
        self.claim.release()
