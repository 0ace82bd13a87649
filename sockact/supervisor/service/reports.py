"""Reports to the operator about generations."""

from __future__ import annotations

from sockact.core.message_kinds import News
from sockact.supervisor.base import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.records.ledger import Ledger


class Reports:
    """Adds the handover and the version of its generation to each message."""

    def __init__(self, reporter: Reporter, ledger: Ledger, generations: Generations) -> None:
        self._reporter = reporter
        self._ledger = ledger
        self._generations = generations
        self._version_notice = ""

    def say(
        self,
        number: int,
        message: str,
        level: int = report.INFO,
        news: News = News.NOTE,
        handover: str = "",
    ) -> None:
        """Report something about generation `number`, or about the service (0)."""
        handover = handover or self._ledger.handover_id(number)
        version = self._generations.version_of(number)
        if version and news in (News.SERVES, News.SERVES_AGAIN):
            message = f"{message}; version {version}"
        self._reporter.say(message, level, number, news, handover, version)

    def report_adapter(self, number: int, message: str) -> None:
        """Report that an adapter does not support the installed version of its server."""
        self.say(number, message, report.NOTICE, News.ADAPTER)

    def report_unlisted(self, number: int, address: str) -> None:
        """Report a port that only this generation has. It takes the queue along when it ends."""
        self.say(
            number,
            f"the program binds {address} with SO_REUSEPORT, and no listener covers it: its "
            f"clients lose connections at each reload; add ListenStream={address} "
            f"(--listen {address})",
            report.NOTICE,
            News.LISTENER,
        )

    def report_unknown_version(self, number: int, message: str) -> None:
        """Report why a generation's version is unknown, but not the same reason twice in a row."""
        if message != self._version_notice:
            self._version_notice = message
            self.say(number, message, report.NOTICE)
