"""The files that a process writes to: proc_pid_fd(5), proc_pid_fdinfo(5), Linux 3.1."""

from __future__ import annotations

import os
import stat

from sockact.kernel import procfs
from sockact.kernel.looks import apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_FILES = ("/dev/", "/memfd:")
_WRITES = os.O_WRONLY | os.O_RDWR
_DELETED = " (deleted)"
"""The suffix of the kernel."""
_DATES = "-00000000", "-0000-00-00", ".00000000", ".0000-00-00", "_00000000", "_0000-00-00"
_TIMES = [mark + "0" * digits for mark in ("", "-", ".", "_", "T") for digits in range(2, 11)]
_SUFFIXES = (
    *("." + "0" * digits for digits in range(1, 5)),
    *(date + time for date in _DATES for time in ("", *_TIMES)),
)
"""Those of logrotate (`start`, `dateext` and `dateformat`), with 0 for each digit."""


def writes_files(pid: int) -> bool:
    """Whether the process has a file open for writing. True if it may not be read."""
    try:
        return _writes(pid)
    except OSError:
        return True


@apart
def _writes(pid: int) -> bool:
    return any(flags & _WRITES for _name, flags in _files(pid))


def left_behind(pid: int) -> list[str]:
    """The rotated log files that the process still appends to: app.log.1, say, while there is a new
    app.log. Empty if the process may not be read.
    """
    try:
        return _left_behind(pid)
    except OSError:
        return []


@apart
def _left_behind(pid: int) -> list[str]:
    appended = [name for name, flags in _files(pid) if flags & _WRITES and flags & os.O_APPEND]
    return sorted({name for name in appended if _has_successor(pid, name)})


def _has_successor(pid: int, name: str) -> bool:
    before = _before_rotation(name)
    try:
        # In the root directory of that process.
        return before != name and stat.S_ISREG(os.stat(f"/proc/{pid}/root{before}").st_mode)
    except OSError:
        return False


def _before_rotation(name: str) -> str:
    """The name that a log file had before it was rotated; its own if it was not."""
    name = name.removesuffix(_DELETED)
    shape = "".join("0" if character.isdecimal() else character for character in name)
    suffixes = (suffix for suffix in _SUFFIXES if shape.endswith(suffix))
    return name[: len(name) - max(map(len, suffixes), default=0)]


def _files(pid: int) -> Iterator[tuple[str, int]]:
    """(name, open flags) of each open file that has a path, except for devices.

    Calls stat(2) on no file, because it may hang on a network file system. Raises OSError if the
    kernel refuses.
    """
    directory = f"/proc/{pid}/fd"
    try:
        fds = os.listdir(directory)
    except (FileNotFoundError, ProcessLookupError):
        return
    for fd in fds:
        try:
            name = os.readlink(f"{directory}/{fd}")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name.startswith("/") and not name.startswith(_NO_FILES):
            yield name, procfs.descriptor_flags(pid, int(fd))
