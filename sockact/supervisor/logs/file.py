"""A log on disk, as the log pump has it: docs/logs.md.

It is opened to append and written in whole lines. What it does not take waits, and is tried again
from time to time; so nothing here raises, but for the first opening.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time

from sockact.core.backlog import Backlog

LIMIT = 8 << 20
"""Bytes that wait for a log which takes none."""

_MODE = 0o640
_FLAGS = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_CHUNK = 1 << 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0


def open_log(path: str) -> int:
    """A descriptor to append to; makes the file, but no directory. Raises OSError.

    Root does not follow a link that somebody else has made: it would write to any file for them.
    """
    if os.geteuid() == 0:
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(path)
            if stat.S_ISLNK(found.st_mode) and found.st_uid:
                raise OSError(errno.ELOOP, f"a link of user {found.st_uid}, and we are root", path)
    try:
        # To read as well: does it end with a whole line?
        fd = os.open(path, os.O_RDWR | _FLAGS, _MODE)
    except PermissionError:
        fd = os.open(path, os.O_WRONLY | _FLAGS, _MODE)
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
        os.close(fd)
        raise OSError(errno.EINVAL, "neither a file nor a character device", path)
    return fd


class LogFile:
    """One log, of one writer."""

    def __init__(self, path: str, limit: int = LIMIT) -> None:
        self.path = path
        self.error = ""
        """Why it takes nothing, in words; empty while it does."""
        self.retry_at: float | None = None
        """When to `flush` again; CLOCK_MONOTONIC."""
        self._news = False
        self.backlog = Backlog(limit)
        self._fd: int | None = None
        self._end = -1
        self._pause = _FIRST_PAUSE
        self._why = ""

    def put(self, source: int, data: bytes) -> None:
        """Lines of this source, as core.backlog.Lines gives them."""
        self.backlog.put(source, data, time.time())
        if not self.error:
            self.flush()

    def flush(self) -> None:
        """Write all that waits, as far as it goes."""
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
        """From now on to what is at that path; "", or why everything stays as it was.

        What came before is in the file before, unless that does not take it.
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
        """Whether, since the last call, an attempt has failed, or succeeded after a failure."""
        news, self._news = self._news, False
        return news

    def give_up(self) -> None:
        """Count what waits as dropped: nobody will write it any more."""
        self._news |= bool(self.backlog.waiting)
        self.backlog.give_up()

    def close(self) -> None:
        if self._fd is not None:
            # NFS tells only now that there was no room, and that nobody can mend: close(2).
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def _renew(self) -> None:
        """Begin a new file where ours was deleted, or its directory with it."""
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
            # Somebody was killed, or the machine fell, in the middle of a line.
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
        """Put a line of ours where lines are missing."""
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
    """Is the file, or device, to be found by a path still? Not if its server forgot it (ESTALE)."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return bool(found.st_nlink) or not stat.S_ISREG(found.st_mode)


def _ends_well(fd: int) -> bool:
    """Does the file end with a whole line, as far as we may know?"""
    try:
        size = os.fstat(fd).st_size
        return size == 0 or os.pread(fd, 1, size - 1) in (b"\n", b"")
    except OSError:
        return True  # We may only write to it.


def _cut_off(fd: int, half: int, end: int) -> None:
    """Take half a line off the end of a file that is left, if nobody has written there since."""
    with contextlib.suppress(OSError):
        if os.fstat(fd).st_size == end >= half:
            os.ftruncate(fd, end - half)
