"""What the supervisor tells the operator, one line each.

Under systemd that is the journal, with fields (docs/journal.md); everywhere else standard error.
"""

from __future__ import annotations

import os

from sockact.core.news import News
from sockact.supervisor.output import write_now
from sockact.systemd.journal import MESSAGE_IDS, Journal, is_journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Say(Protocol):
        """Tells something of a generation."""

        def __call__(
            self, number: int, message: str, level: int = ..., news: News = ...
        ) -> None: ...


ERROR, NOTICE, INFO = 3, 5, 6
"""Levels of sd-daemon(3)."""


class Reporter:
    """Tells of one service. What finds no room is counted, not waited for."""

    def __init__(self, name: str, fd: int = 2, *, terse: bool = False) -> None:
        """With `terse`, what is only for the record is left out."""
        self._name = name
        self._terse = terse
        self._fd = fd
        self._dropped = 0
        self._in_journal = is_journal(fd, os.environ)
        self._journal = _journal() if self._in_journal else None

    def say(
        self,
        message: str,
        level: int = INFO,
        generation: int = 0,
        news: News = News.NOTE,
        handover: str = "",
    ) -> None:
        """Report one thing once; `handover` is the id of the one that it is part of."""
        if self._terse and level == INFO:
            return
        if generation:
            message = f"generation {generation}: {message}"
        if self._dropped:
            message = f"{message} ({self._dropped} messages before this one were lost)"
        message = message.replace("\n", " ")
        if self._send(message, level, generation, news, handover) or self._write(message, level):
            self._dropped = 0
        else:
            self._dropped += 1

    def brief(self, message: str) -> None:
        """For somebody at the terminal, in the place of what is left out there."""
        if self._terse:
            self.say(message, NOTICE)

    def close(self) -> None:
        if self._journal:
            self._journal.close()

    def _send(self, message: str, level: int, generation: int, news: News, handover: str) -> bool:
        if self._journal is None:
            return False
        fields = {
            "MESSAGE": message,
            "PRIORITY": str(level),
            "SYSLOG_IDENTIFIER": "sockact",
            "SOCKACT_SERVICE": self._name,
            "SOCKACT_EVENT": news.value,
        }
        if generation:
            fields["SOCKACT_GENERATION"] = str(generation)
        if handover:
            fields["SOCKACT_HANDOVER"] = handover
        if news in MESSAGE_IDS:
            fields["MESSAGE_ID"] = MESSAGE_IDS[news]
        return self._journal.send(fields)

    def _write(self, message: str, level: int) -> bool:
        prefix = f"<{level}>" if self._in_journal else f"sockact: {self._name}: "
        data = f"{prefix}{message}\n".encode("utf-8", "backslashreplace")
        return write_now(self._fd, data) == len(data)


def _journal() -> Journal | None:
    try:
        return Journal()
    except OSError:
        return None  # Its stream has to do, with the level alone.
