"""The journal, by systemd-python: sd-journal(3).

Waiting is poll(2) on the journal's descriptor (sd_journal_get_fd(3)); nothing is asked again and
again.
"""

from __future__ import annotations

import glob
import os
import select
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.cli.journal.matches import Matches

    Fields = dict[str, Any]

_FILES = ("/var/log/journal/*/system.journal", "/run/log/journal/*/system.journal")
# libsystemd need not unpack more of a field.
_LONGEST_FIELD = 64 * 1024


class CannotRead(Exception):
    """The journal cannot be read; one line, with what to do."""


class Journal:
    """The lines that match `select`. Use it as a context manager. Raises CannotRead."""

    def __init__(self) -> None:
        try:
            from systemd import journal  # Not installed with sockact by pip.
        except ImportError:
            raise CannotRead(
                "reading the journal needs systemd-python: install python3-systemd "
                "(Debian, Fedora), or pip install 'sockact[journal]'"
            ) from None
        try:
            self._reader = journal.Reader(journal.LOCAL_ONLY)
        except OSError as error:
            raise CannotRead(f"cannot open the journal: {error.strerror}") from error
        # What the module would convert by itself may fail for what others have written.
        self._reader.converters = dict.fromkeys(
            ("__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP", "__CURSOR"), _as_it_is
        )
        self._reader.data_threshold = _LONGEST_FIELD

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_error: object) -> None:
        self._reader.close()

    def select(self, matches: Matches) -> None:
        """Restrict `newest` and `follow` to the lines that match."""
        self._reader.flush_matches()
        for clause in matches:
            self._reader.add_conjunction()
            for term in clause:
                self._reader.add_disjunction()
                for field, value in term.items():
                    self._reader.add_match(f"{field}={value}")

    def newest(
        self, count: int, since: float = 0.0, until: float | None = None
    ) -> Iterator[Fields]:
        """Yield the newest `count` lines, oldest first. Times are seconds since 1970."""
        reader = self._reader
        if until is None:
            reader.seek_tail()
        else:
            reader.seek_realtime(int(until * 1_000_000) + 1)
        # The position after this move is also the one that `follow` starts from.
        fields = self._move(-max(count, 1))
        if not fields:
            reader.seek_head()
            return
        if not count:
            return
        if _seconds(fields) < since:
            reader.seek_realtime(int(since * 1_000_000))
            fields = self._move(1)
        while fields and (until is None or _seconds(fields) <= until):
            if _seconds(fields) >= since:
                yield fields
            fields = self._move(1)

    def follow(self, output: int) -> Iterator[Fields]:
        """Yield the lines after those of `newest`, until nobody reads `output` any more."""
        poll = select.poll()
        poll.register(self._reader.fileno(), self._reader.get_events())
        poll.register(output, 0)  # POLLERR and POLLHUP come unasked.
        while True:
            while fields := self._move(1):
                yield fields
            # There is a timeout only on file systems that report no changes (NFS, for example).
            ready = dict(poll.poll(self._reader.get_timeout_ms()))
            if output in ready:
                return
            self._reader.process()

    def _move(self, lines: int) -> Fields:
        """Move by `lines`, back if negative; return the line there, empty if there is none."""
        try:
            fields: Fields = self._reader.get_next(lines)
        except OSError as error:
            raise CannotRead(f"cannot read the journal: {error.strerror}") from error
        return fields


def why_not_readable() -> str:
    """Why the journal of the system cannot be read, or is not there; empty when it can."""
    files = [path for pattern in _FILES for path in glob.glob(pattern)]
    if not files:
        return "there is no journal on this system"
    if any(os.access(path, os.R_OK) for path in files):
        return ""
    return "only root and the group systemd-journal can read the system's journal"


def _seconds(fields: Fields) -> float:
    return int(fields["__REALTIME_TIMESTAMP"]) / 1_000_000


def _as_it_is(value: Any) -> Any:
    return value
