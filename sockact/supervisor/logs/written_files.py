"""The files that a process writes to: proc_pid_fd(5), proc_pid_fdinfo(5), Linux 3.1."""

from __future__ import annotations

import os
import re
import stat

from sockact.kernel import procfs
from sockact.kernel.looks import apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_FILES = ("/dev/", "/memfd:")
_WRITES = os.O_WRONLY | os.O_RDWR
# Suffixes of logrotate (`start`, `dateext` and `dateformat`) and of the kernel.
_DELETED = r" \(deleted\)"
_SUFFIX = r"(?:\.\d{1,4}|[-._]\d{4}-?\d\d-?\d\d(?:[-._T]?\d{2,10})?)"
_ROTATED = re.compile(f"(.+?)(?:{_SUFFIX}(?:{_DELETED})?|{_DELETED})")


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
    found = _ROTATED.fullmatch(name)
    if found is None:
        return False
    try:
        # In the root directory of that process.
        return stat.S_ISREG(os.stat(f"/proc/{pid}/root{found[1]}").st_mode)
    except OSError:
        return False


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
