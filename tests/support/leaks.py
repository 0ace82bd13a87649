"""Finds what a test has left behind: processes (also orphans), file descriptors, socket files.

Orphans come to us because the test process is a subreaper (`become_subreaper`).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
from typing import TYPE_CHECKING

import psutil

from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
# A process that was told to end may need a moment.
GRACE = 2.0


def become_subreaper() -> None:
    """From now on orphaned descendants become our children, where they can be seen."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def processes() -> dict[int, str]:
    """All living descendants, with their command lines. Reaps orphans that have ended."""
    found: dict[int, str] = {}
    if not _has_children():
        return found
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() == psutil.STATUS_ZOMBIE:
                _reap(process.pid)
            else:
                found[process.pid] = " ".join(process.cmdline()) or process.name()
    return found


def _has_children() -> bool:
    """As nobody has in most tests; to look at every process of the machine takes far longer."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _reap(pid: int) -> None:
    # Not a child of ours: its parent will. Of Popen's own: Popen copes with ECHILD.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def descriptors() -> dict[int, str]:
    """The open file descriptors and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def socket_files(folder: Path) -> list[Path]:
    """The socket files below a directory."""
    return [path for path in folder.rglob("*") if path.is_socket()]


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Raises AssertionError when the block leaves a process or a file descriptor behind."""
    before_processes, before_descriptors = processes(), descriptors()
    yield
    left = [*_processes_left(before_processes), *_descriptors_left(before_descriptors)]
    if left:
        raise AssertionError("left behind: " + "; ".join(left))


def _processes_left(before: dict[int, str]) -> list[str]:
    def gone() -> bool:
        return not set(processes()) - set(before)

    with contextlib.suppress(TimeoutError):
        wait.until(gone, "processes to end", GRACE)
    left = {pid: name for pid, name in processes().items() if pid not in before}
    for pid in left:
        # The next test must not be affected.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return [f"process {pid}: {name}" for pid, name in left.items()]


def _descriptors_left(before: dict[int, str]) -> list[str]:
    def left() -> list[str]:
        now = descriptors()
        return [f"fd {fd}: {name}" for fd, name in now.items() if before.get(fd) != name]

    if left():
        # Perhaps an object that nobody refers to any more, in a cycle.
        gc.collect()
    return left()
