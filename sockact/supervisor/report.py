"""What the supervisor tells the operator: one line each on stderr, which under systemd is the
journal.
"""

from __future__ import annotations

import os

from sockact.supervisor.output import write_now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # (generation, message, level)
    Say = Callable[[int, str, int], None]

ERROR, NOTICE, INFO = 3, 5, 6
"""Levels of sd-daemon(3)."""


class Reporter:
    """Writes `sockact: NAME: message` lines; one that finds no room is counted, not waited for."""

    def __init__(self, name: str, fd: int = 2) -> None:
        self._name = name
        self._fd = fd
        self._dropped = 0
        self._journal = _is_journal(fd)

    def say(self, message: str, level: int = INFO) -> None:
        """Report one thing once."""
        if self._dropped:
            message = f"{message} ({self._dropped} messages before this one were lost)"
        prefix = f"<{level}>" if self._journal else f"sockact: {self._name}: "
        line = prefix + message.replace("\n", " ") + "\n"
        data = line.encode("utf-8", "backslashreplace")
        if write_now(self._fd, data) < len(data):
            self._dropped += 1
        else:
            self._dropped = 0


def _is_journal(fd: int) -> bool:
    """Is fd the stream that $JOURNAL_STREAM of systemd.exec(5) describes?"""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
