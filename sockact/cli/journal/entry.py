"""One line of the journal, and how it is shown.

Everything in it was written by somebody else, and may be anything: it is cut, and `text` leaves
nothing in it that could control a terminal.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sockact.cli.terminal.output import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_MESSAGE = 4096
"""Characters."""
_LONGEST_FIELD = 128


@dataclass(frozen=True)
class Entry:
    """A line: `generation` is 0 and `pid` None where the journal does not tell."""

    usec: int
    identifier: str
    pid: int | None
    generation: int
    handover: str
    event: str
    priority: int | None
    message: str
    invocation: str

    def text(self) -> str:
        """Return the line as `journalctl` shows it, without the name of the host."""
        when = time.strftime("%b %d %H:%M:%S", time.localtime(self.usec / 1_000_000))
        process = "" if self.pid is None else f"[{self.pid}]"
        front = f"{when} {printable(self.identifier)}{process}: "
        return front + f"\n{' ' * len(front)}".join(map(printable, self.message.split("\n")))

    def json(self) -> dict[str, object]:
        """Return the line as JSON data for programs."""
        return {
            "at_usec": self.usec,
            "identifier": self.identifier,
            "pid": self.pid,
            "generation": self.generation or None,
            "handover": self.handover,
            "event": self.event,
            "priority": self.priority,
            "message": self.message,
        }


def entry(fields: Mapping[str, Any], identifier: str) -> Entry:
    """Return the line that these fields describe (systemd.journal-fields(7)). A generation's
    identifier in the journal is `identifier`, a dash and the generation's number.
    """
    name = _text(fields, "SYSLOG_IDENTIFIER") or _text(fields, "_COMM") or "unknown"
    generation = _number(fields, "SOCKACT_GENERATION")
    if generation is None and _text(fields, "_TRANSPORT") == "stdout":
        front, _, number = name.rpartition("-")
        generation = _decimal(number) if front == identifier else None
    return Entry(
        usec=int(fields["__REALTIME_TIMESTAMP"]),
        identifier=name,
        pid=_number(fields, "_PID"),
        generation=generation or 0,
        handover=_text(fields, "SOCKACT_HANDOVER"),
        event=_text(fields, "SOCKACT_EVENT"),
        priority=_number(fields, "PRIORITY"),
        message=_text(fields, "MESSAGE", LONGEST_MESSAGE),
        invocation=_text(fields, "_SYSTEMD_INVOCATION_ID"),
    )


def _text(fields: Mapping[str, Any], name: str, longest: int = _LONGEST_FIELD) -> str:
    """Return the text of a field, which may occur more than once, and need not be UTF-8."""
    value = fields.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, bytes):
        # Four bytes a character at the most.
        value = value[: 4 * longest + 4].decode("utf-8", "backslashreplace")
    text = "" if value is None else str(value)
    return text if len(text) <= longest else f"{text[:longest]}…"


def _number(fields: Mapping[str, Any], name: str) -> int | None:
    return _decimal(_text(fields, name))


def _decimal(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
