"""A log file, as the log pump writes it: docs/logs.md.

It is appended to in whole lines. Lines that cannot be written wait and are retried, so nothing here
raises except `open_log`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time

from sockact.core.backlog import Backlog
from sockact.trust import files

LIMIT = 8 << 20
"""Bytes that may wait for a log that cannot be written."""

_MODE = 0o640
_CHUNK = 1 << 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0


def open_log(path: str) -> int:
    """Open a log for appending; create the file, but no directory. Raises OSError.

    Root does not follow the symbolic links of other users: it would write to any file for them.
    """
    return files.open_to_append(path, _MODE)


class LogFile:
    """A log with a single writer."""

    def __init__(self, path: str, limit: int = LIMIT) -> None:
        self.path = path
        self.error = ""
        """Why the log cannot be written; "" while it can."""
        self.retry_at: float | None = None
        """When to `flush` again (CLOCK_MONOTONIC)."""
        self._news = False
        self.backlog = Backlog(limit)
        self._fd: int | None = None
        self._end = -1
        self._pause = _FIRST_PAUSE
        self._why = ""

    def put(self, source: int, data: bytes) -> None:
        """Write lines of this source, as core.backlog.Lines returns them."""
        self.backlog.put(source, data, time.time())
        if not self.error:
            self.flush()

    def flush(self) -> None:
        """Write as many of the waiting lines as possible."""
        try:
            self._renew()
            while self.backlog.waiting or self._tell_gap():
                self._write()
        except OSError as error:
            self._fail(error)
        else:
            self._news |= bool(self.error)
            self.error, self.retry_at, self._pause = "", None, _FIRST_PAUSE

    def reopen(self) -> str:
        """Switch to the file that is at the path now; return "", or why that failed.

        Earlier lines go to the earlier file, unless that cannot be written.
        """
        try:
            fd = open_log(self.path)
        except OSError as error:
            return f"{self.path}: {_words(error)}"
        if self.backlog.waiting:
            self.flush()
        self._change(fd)
        self.flush()
        return ""

    def take_news(self) -> bool:
        """Return whether, since the last call, a write failed, or succeeded after a failure."""
        news, self._news = self._news, False
        return news

    def give_up(self) -> None:
        """Count the waiting lines as dropped, at the end of the process."""
        self._news |= bool(self.backlog.waiting)
        self.backlog.give_up()

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            # NFS may report only here that the disk was full, too late to act: close(2).
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def _renew(self) -> None:
        """Create a new file if the current one was deleted, or its directory was."""
        if self._fd is not None:
            if _has_name(self._fd):
                return
            self._change(None)
        self._change(open_log(self.path))

    def _change(self, fd: int | None) -> None:
        half = self.backlog.take_back()
        if self._fd is not None:
            if half:
                _cut_off(self._fd, half, self._end)
            self.close()
        self._fd = fd
        if fd is not None and not _ends_well(fd):
            # A writer was killed, or the machine crashed, in the middle of a line.
            self.backlog.waiting[:0] = b"\n"

    def _write(self) -> None:
        assert self._fd is not None
        with memoryview(self.backlog.waiting) as waiting, waiting[:_CHUNK] as chunk:
            size = os.write(self._fd, chunk)
        if size == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.backlog.taken(size)

    def _fail(self, error: OSError) -> None:
        self.error = self._why = _words(error)
        self._news = True
        self._end = -1
        if self._fd is not None:
            with contextlib.suppress(OSError):
                self._end = os.fstat(self._fd).st_size
        self.retry_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _tell_gap(self) -> bool:
        """Add a line in place of lines that were dropped; return whether there were any."""
        gap = self.backlog.close_gap()
        if gap is None:
            return False
        lines = "1 line" if gap.lines == 1 else f"{gap.lines} lines"
        were = "was" if gap.lines == 1 else "were"
        between = f"between {_clock(gap.first)} and {_clock(gap.last)}"
        text = f"sockact: {lines} ({gap.size} bytes) {were} dropped {between}: {self._why}\n"
        self.backlog.add(text.encode("utf-8", "backslashreplace"))
        return True


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def _has_name(fd: int) -> bool:
    """Whether the file or device still has a path; not if it is gone from its server (ESTALE)."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return bool(found.st_nlink) or not stat.S_ISREG(found.st_mode)


def _ends_well(fd: int) -> bool:
    """Whether the file ends with a whole line, as far as it can be read."""
    try:
        size = os.fstat(fd).st_size
        return size == 0 or os.pread(fd, 1, size - 1) in (b"\n", b"")
    except OSError:
        return True  # Not readable.


def _cut_off(fd: int, half: int, end: int) -> None:
    """Truncate half a line at the end of a file, unless another process has written since."""
    with contextlib.suppress(OSError):
        if os.fstat(fd).st_size == end >= half:
            os.ftruncate(fd, end - half)
