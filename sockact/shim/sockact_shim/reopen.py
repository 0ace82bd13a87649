"""Reopens log files that were moved: the new file replaces the old one at its descriptor.

The program's file object does not change: what it has buffered goes to the new file, and a thread
that is writing is not disturbed. Raises nothing; a file that cannot be reopened stays as it is.
"""

from __future__ import annotations

import fcntl
import os
import stat

from . import logs, monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATIENCE = 1.0
_PAUSE = 0.0005
_WRITES = os.O_WRONLY | os.O_RDWR
_KEPT_FLAGS = _WRITES | os.O_SYNC | os.O_DSYNC
# Processes that shared an offset after a fork no longer do: without O_APPEND they would overwrite
# each other's lines.
_NEW_FLAGS = os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
_MODE = 0o666


class _Written:
    """The descriptors of this process by file, listed once: there may be thousands."""

    def __init__(self) -> None:
        self.done: set[tuple[int, int]] = set()
        self._fds: dict[tuple[int, int], list[int]] | None = None

    def others(self, identity: tuple[int, int], known: int) -> list[int]:
        """The other descriptors that write to the same file."""
        if self._fds is None:
            self._fds = _regular_files()
        return [
            fd
            for fd in self._fds.get(identity, ())
            if fd != known and _shows(fd, identity) and _flags(fd) & _WRITES
        ]


def moved() -> tuple[int, list[str]]:
    """Reopen all known log files that were moved: (number of files, errors)."""
    errors: list[str] = []
    written = _Written()
    until = monotonic() + _PATIENCE
    for file in logs.find(errors):
        try:
            _reopen(file, written, until)
        except OSError as error:
            errors.append(f"{file.path}: {error.strerror or error}")
        except Exception as error:
            errors.append(f"{file.path}: {type(error).__name__}: {error}")
    return len(written.done), _unique(errors)


def _unique(errors: list[str]) -> list[str]:
    """The errors without repetitions: two handlers of one file fail in the same way."""
    return list(dict.fromkeys(errors))


def _reopen(file: logs.LogFile, written: _Written, until: float) -> None:
    fd = _descriptor(file.stream)
    path = _path(file.path, fd) if fd >= 0 else ""
    if fd < 0 or not _is_moved(path, fd):
        return
    held = _hold(file.lock, until)
    try:
        # A handler that rotates its file itself may have another one now.
        if _descriptor(file.stream) == fd and _is_moved(path, fd):
            _exchange(path, fd, file.stream, written)
    finally:
        if held:
            file.lock.release()


def _descriptor(stream: Any) -> int:
    """The descriptor of a regular file that is open for writing, else -1."""
    try:
        fd = stream.fileno()
        status = os.fstat(fd)
    except (AttributeError, OSError, ValueError):
        return -1
    return fd if stat.S_ISREG(status.st_mode) and _flags(fd) & _WRITES else -1


def _path(name: str, fd: int) -> str:
    """The absolute path of the name that a file was opened with. Raises OSError."""
    if os.path.isabs(name):
        return name
    now = os.readlink(f"/proc/self/fd/{fd}")
    if now.endswith("/" + os.path.normpath(name)):
        return now
    path = os.path.abspath(name)
    if os.path.realpath(os.path.dirname(path)) != os.path.dirname(now):
        raise OSError("was opened by this relative name in an unknown directory")
    return path


def _is_moved(path: str, fd: int) -> bool:
    """Whether the file is no longer at the path. Raises OSError, also if a non-file is there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return True
    if _identity(status) == _identity(os.fstat(fd)):
        return False
    if not stat.S_ISREG(status.st_mode):
        raise OSError("is no longer a regular file")
    return True


def _hold(lock: Any, until: float) -> bool:
    """Take the handler's lock, so that no thread closes the file meanwhile; False if there is none.

    Waits for a limited time, because the thread that has the lock may wait for the main thread. It
    polls, because a lock of gevent would switch to another greenlet. Raises OSError.
    """
    if lock is None:
        return False
    while not lock.acquire(False):
        if monotonic() > until:
            raise OSError(f"its handler was busy for {_PATIENCE:g} s; rotate again")
        sleep(_PAUSE)
    return True


def _exchange(path: str, fd: int, stream: Any, written: _Written) -> None:
    """Replace the file at the fd, and at all others that write to it, by the one at the path."""
    if not _is_plain(stream):
        raise OSError(
            f"the output goes through a {type(stream).__name__}, which cannot be reopened"
        )
    old = _identity(os.fstat(fd))
    fds = written.others(old, fd)
    _flush(stream)
    for one in [*fds, fd]:
        if _shows(one, old):
            _lay(path, one, old)
    # Again: a thread that was writing to the old file held the lock of the buffer.
    _flush(stream)
    written.done.add(old)


def _lay(path: str, fd: int, old: tuple[int, int]) -> None:
    new = os.open(path, _flags(fd) & _KEPT_FLAGS | _NEW_FLAGS, _MODE)
    try:
        # Only one fd is locked. Another one may have been closed by a thread during open(), and its
        # number may be a client's connection now.
        if _shows(fd, old):
            os.dup2(new, fd, os.get_inheritable(fd))
    finally:
        os.close(new)


def _is_plain(stream: Any) -> bool:
    """Whether nothing with a state, such as compression, is between the text and the file."""
    raw = getattr(stream, "buffer", stream)
    raw = getattr(raw, "raw", raw)
    return type(raw).__name__ == "FileIO"


def _regular_files() -> dict[tuple[int, int], list[int]]:
    found: dict[tuple[int, int], list[int]] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:
            continue  # closed meanwhile, or the fd that listed the directory
        if stat.S_ISREG(status.st_mode):
            found.setdefault(_identity(status), []).append(int(name))
    return found


def _shows(fd: int, identity: tuple[int, int]) -> bool:
    try:
        return _identity(os.fstat(fd)) == identity
    except OSError:
        return False


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except (OSError, ValueError, RuntimeError):
        pass  # the interrupted code is flushing


def _flags(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_GETFL)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
