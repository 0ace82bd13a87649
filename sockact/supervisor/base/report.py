"""Messages to the operator, one line each.

Under systemd they go to the journal, with fields (docs/journal.md); otherwise to standard error.
"""

from __future__ import annotations

import os
import time

from sockact.core import json_text
from sockact.core.message_kinds import News
from sockact.supervisor.base.nonblocking import write_now
from sockact.systemd.journal import MESSAGE_IDS, Journal, is_journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Say(Protocol):
        """Reports something about a generation."""

        def __call__(
            self, number: int, message: str, level: int = ..., news: News = ...
        ) -> None: ...


ERROR, NOTICE, INFO = 3, 5, 6
"""Log levels, as in sd-daemon(3)."""
TEXT, JSON = "text", "json"


class Reporter:
    """Reports on one service. Never blocks: messages that cannot be written are counted."""

    def __init__(self, name: str, fd: int = 2, *, style: str = TEXT, terse: bool = False) -> None:
        """`style` is the form of lines that do not go to the journal: TEXT or JSON. With `terse`,
        INFO messages are left out.
        """
        self._name = name
        self._terse = terse
        self._fd = fd
        self._style = style
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
        version: str = "",
    ) -> None:
        """Report one event. `handover` is the id of the handover that it belongs to, `version` the
        version of the generation's release.
        """
        if self._terse and level == INFO:
            return
        if generation:
            message = f"generation {generation}: {message}"
        if self._dropped:
            message = f"{message} ({self._dropped} earlier messages were lost)"
        message = message.replace("\n", " ")
        fields = {
            "MESSAGE": message,
            "PRIORITY": str(level),
            "SYSLOG_IDENTIFIER": "sockact",
            "SOCKACT_SERVICE": self._name,
            "SOCKACT_EVENT": news.value,
            "SOCKACT_GENERATION": str(generation or ""),
            "SOCKACT_HANDOVER": handover,
            "SOCKACT_VERSION": version,
            "MESSAGE_ID": MESSAGE_IDS.get(news, ""),
        }
        fields = {name: text for name, text in fields.items() if text}
        sent = self._journal is not None and self._journal.send(fields)
        if sent or self._write(self._line(message, level, fields)):
            self._dropped = 0
        else:
            self._dropped += 1

    def brief(self, message: str) -> None:
        """Report to a terminal, in place of the messages that `terse` leaves out."""
        if self._terse:
            self.say(message, NOTICE)

    def close(self) -> None:
        """Close the connection to the journal."""
        if self._journal:
            self._journal.close()

    def _line(self, message: str, level: int, fields: dict[str, str]) -> str:
        if self._in_journal:
            return f"<{level}>{message}"
        if self._style == JSON:
            return json_text.encode({"TIMESTAMP": _now()} | fields)
        return f"sockact: {self._name}: {message}"

    def _write(self, line: str) -> bool:
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        return write_now(self._fd, data) == len(data)


def _now() -> str:
    """Return the time in UTC, in ISO 8601."""
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1e6):06d}Z"


def _journal() -> Journal | None:
    try:
        return Journal()
    except OSError:
        return None  # Its stream is there still, with the level but without fields.
