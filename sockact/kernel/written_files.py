"""The files that a process writes to: proc_pid_fd(5), and proc_pid_fdinfo(5) of Linux 3.1."""

from __future__ import annotations

import os
import re
import stat

from sockact.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_FILES = ("/dev/", "/memfd:")
_WRITES = os.O_WRONLY | os.O_RDWR
# What logrotate appends (its `start`, `dateext` and `dateformat`), and what the kernel does.
_DELETED = r" \(deleted\)"
_SUFFIX = r"(?:\.\d{1,4}|[-._]\d{4}-?\d\d-?\d\d(?:[-._T]?\d{2,10})?)"
_ROTATED = re.compile(f"(.+?)(?:{_SUFFIX}(?:{_DELETED})?|{_DELETED})")


def writes_files(pid: int) -> bool:
    """Has it a file open for writing? True, too, when that is not to be known."""
    try:
        return any(flags & _WRITES for _name, flags in _files(pid))
    except OSError:
        return True


def left_behind(pid: int) -> list[str]:
    """The files that it appends to and that have the name of a rotated log, as app.log.1, while
    there is another at the name before that. Empty when that is not to be known.
    """
    try:
        appended = [name for name, flags in _files(pid) if flags & _WRITES and flags & os.O_APPEND]
    except OSError:
        return []
    return sorted({name for name in appended if _has_successor(pid, name)})


def _has_successor(pid: int, name: str) -> bool:
    found = _ROTATED.fullmatch(name)
    if found is None:
        return False
    try:
        # As that process sees it.
        return stat.S_ISREG(os.stat(f"/proc/{pid}/root{found[1]}").st_mode)
    except OSError:
        return False


def _files(pid: int) -> Iterator[tuple[str, int]]:
    """Name and open flags of each file that has a path, devices left out. Raises OSError when the
    kernel refuses.

    No file is asked for its status: that may be on a server that has gone, and does not return.
    """
    folder = f"/proc/{pid}/fd"
    try:
        fds = os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError):
        return
    for fd in fds:
        try:
            name = os.readlink(f"{folder}/{fd}")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name.startswith("/") and not name.startswith(_NO_FILES):
            yield name, procfs.descriptor_flags(pid, int(fd))
