"""Gate: stops and resumes accepting, for programs that wait for connections in epoll.

pidfd_getfd gives a duplicate of the program's epoll instance, from which the listener is removed.
The program is not woken for new connections any more, and keeps serving those that it has. Adding
the same entry again opens the gate.

The kernel identifies an entry by (open file, descriptor number), so the listener needs the number
that the program uses. A short-lived child process has its own descriptor table for that. It is
given up if the program holds the lock of the epoll instance (looks.py).
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource

from sockact.core.record import dataclass
from sockact.kernel import epoll, looks, pidfd, procfs, waits
from sockact.kernel.looks import apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    # (pid, epfd, fd, inode, events, data) of an entry
    _Plain = tuple[int, int, int, int, int, int]

# By Yama, without CAP_SYS_PTRACE, or by the seccomp filter of a container, some of which return
# ENOSYS.
_REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)

# Runnable, in uninterruptible sleep, or stopped (proc_pid_stat(5)).
_UNDER_WAY = "RDTt"


class GateRefused(Exception):
    """The gate cannot be moved, for the reason in the message."""


@dataclass(frozen=True)
class Entry:
    """A listener in an epoll instance of a process, with all that is needed to add it again."""

    pid: int
    epfd: int
    fd: int
    events: int
    data: int
    inode: int

    @property
    def place(self) -> tuple[int, int, int, int]:
        """What identifies the entry."""
        return self.pid, self.epfd, self.fd, self.inode


def entries(pids: Iterable[int], inodes: set[int], limit: epoll.Limit | None = None) -> list[Entry]:
    """The entries of these listeners (by inode) in all epoll instances of the processes.

    Raises PermissionError, procfs.Unavailable and epoll.TooMany.
    """
    bounds = limit or epoll.Limit()
    found = []
    for pid in pids:
        entries, bounds.bytes, bounds.found = _entries(
            pid, None, tuple(inodes), (bounds.bytes, bounds.found)
        )
        found += [Entry(*entry) for entry in entries]
    return found


def entries_in(epolls: dict[int, list[int]], inodes: set[int]) -> list[Entry]:
    """As `entries`, from process → descriptors of its epoll instances."""
    left = epoll.Limit()
    found = []
    for pid, instances in epolls.items():
        entries, left.bytes, left.found = _entries(
            pid, instances, tuple(inodes), (left.bytes, left.found)
        )
        found += [Entry(*entry) for entry in entries]
    return found


@apart
def _entries(
    pid: int, instances: list[int] | None, inodes: tuple[int, ...], left: tuple[int, int]
) -> tuple[list[tuple[int, int, int, int, int, int]], int, int]:
    """The entries in epoll instances of a process, all if None, and what is left of the limit."""
    limit = epoll.Limit(*left)
    if instances is None:
        instances = procfs.sockets_and_epolls(pid)[1]
    found = [
        (pid, epfd, entry.fd, entry.events, entry.data, entry.inode)
        for epfd in instances
        for entry in epoll.of_instance(pid, epfd, inodes, limit)
    ]
    return found, limit.bytes, limit.found


def refused(entry: Entry) -> str:
    """Why the kernel does not let us edit the epoll instances of this process; "" if it does.

    Raises OSError if the kernel cannot tell at this moment.
    """
    return _refused(entry.pid, entry.epfd)


@apart
def _refused(pid: int, epfd: int) -> str:
    try:
        os.close(pidfd.getfd(pid, epfd))
    except ProcessLookupError:
        return ""
    except OSError as error:
        if error.errno in _REFUSED:
            return os.strerror(error.errno)
        if error.errno != errno.EBADF:
            raise
    return ""


def close(found: list[Entry], listeners: dict[int, int]) -> dict[int, str]:
    """Remove the entries. `listeners` maps inode → our descriptor. A socket that is not in it is
    that of the process itself.

    Returns process → reason for the processes whose epoll instances we may not edit; their entries
    are unchanged. Raises GateRefused.
    """
    try:
        return _edit(epoll.EPOLL_CTL_DEL, found, listeners)
    except OSError as error:
        raise GateRefused(str(error.strerror)) from error


def open(found: list[Entry], listeners: dict[int, int]) -> None:
    """Add the entries again; connections in the accept queue wake the program.

    Raises GateRefused, and Unavailable for want of descriptors, memory or processes: then call it
    again later.
    """
    try:
        refusals = _edit(epoll.EPOLL_CTL_ADD, found, listeners)
    except OSError as error:
        if looks.is_for_want(error):
            raise looks.as_unavailable(error) from error
        raise GateRefused(str(error.strerror)) from error
    for pid, why in refusals.items():
        raise GateRefused(f"pidfd_getfd of process {pid}: {why}")


def restore(found: list[Entry]) -> dict[int, str]:
    """Give entries of connections the events that they had, as far as they are there. Returns
    process → reason for those that refuse. Raises OSError.
    """
    return _edit(epoll.EPOLL_CTL_MOD, found, {})


def _edit(operation: int, found: list[Entry], listeners: dict[int, int]) -> dict[int, str]:
    """Edit in a child process. Returns process → reason for those that refuse. Raises OSError."""
    if not found:
        return {}
    used = {entry.inode for entry in found}
    ours = {inode: fd for inode, fd in listeners.items() if inode in used}
    first, plain = found[0].pid, [(*x.place, x.events, x.data) for x in found]
    above = _above(plain)
    duplicates: dict[tuple[int, int], int] = {}
    try:
        if looks.is_begun():
            keep = [*ours.values()]
            return looks.in_fork(first, _edit_in_fork, keep, above, operation, plain, ours)
        # Only a process above the program may have duplicates, under Yama.
        refusals = _duplicate(plain, ours, duplicates)
        keep = [*ours.values(), *duplicates.values()]
        looks.in_fork(first, _edit_in_fork, keep, above, operation, plain, ours, duplicates)
        return refusals
    finally:
        for duplicate in duplicates.values():
            os.close(duplicate)


def _duplicate(
    found: list[_Plain], listeners: dict[int, int], duplicates: dict[tuple[int, int], int]
) -> dict[int, str]:
    """Add duplicates of the epoll instances, and of sockets that are not in `listeners`: (process,
    descriptor) → our descriptor. Returns process → reason for those that refuse. Raises OSError.
    """
    refusals: dict[int, str] = {}
    wanted = {(pid, epfd): None for pid, epfd, *_ in found}
    wanted |= {(pid, fd): None for pid, _, fd, inode, *_ in found if inode not in listeners}
    for pid, fd in wanted:
        try:
            if pid not in refusals:
                duplicates[pid, fd] = pidfd.getfd(pid, fd)
        except ProcessLookupError:
            continue
        except OSError as error:
            if error.errno == errno.EBADF:
                continue  # The program has closed it meanwhile.
            if error.errno not in _REFUSED:
                raise OSError(error.errno, f"pidfd_getfd: {error.strerror}") from error
            refusals[pid] = os.strerror(error.errno)
    return refusals


def _above(found: list[_Plain]) -> int:
    """The first number above the descriptor numbers of the entries."""
    return 1 + max(fd for _pid, _epfd, fd, *_ in found)


@apart
def _edit_in_fork(
    operation: int,
    found: list[_Plain],
    listeners: dict[int, int],
    given: dict[tuple[int, int], int] | None = None,
) -> dict[int, str]:
    """Edit in this process, which ends then."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    duplicates = given or {}
    refusals = {} if given is not None else _duplicate(found, listeners, duplicates)
    above = _above(found)
    high = {inode: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for inode, fd in listeners.items()}
    moved = {
        place: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for place, fd in duplicates.items()
    }
    for pid, _epfd, fd, inode, *_ in found:
        if inode not in listeners and (own := moved.get((pid, fd))) is not None:
            # The program may have replaced its descriptor meanwhile.
            high |= {inode: own} if os.fstat(own).st_ino == inode else {}
    failed: OSError | None = None
    for pid, epfd, fd, inode, events, data in found:
        if (pid, epfd) not in moved or inode not in high:
            continue
        os.dup2(high[inode], fd)
        try:
            epoll.control(moved[pid, epfd], operation, fd, events, data)
        except (FileNotFoundError, FileExistsError):
            continue  # Already done, for another process that shares the instance.
        except OSError as error:
            failed = failed or OSError(error.errno, f"epoll_ctl: {error.strerror}")
    if failed:
        raise failed
    return refusals


def at_rest(pid: int, loops: set[int]) -> bool:
    """Whether a process can no longer accept a connection that it was told of before its gate
    closed: no thread is under way, and some thread waits on each of the epoll instances `loops`
    that the listener was removed from.

    Such a process may have been starved, stopped, or busy with other events. True if the process
    is gone, False if it may not be read. Raises procfs.Unavailable.
    """
    try:
        return _at_rest(pid, tuple(loops))
    except PermissionError:
        return False


@apart
def _at_rest(pid: int, loops: tuple[int, ...]) -> bool:
    threads = waits.threads(pid)
    if any(thread.state in _UNDER_WAY for thread in threads):
        return False
    waited_on = {thread.waits_on for thread in threads if thread.waits_on is not None}
    # tokio has two descriptors of its epoll instance, and waits on one of them.
    return not threads or all(
        loop in waited_on or any(pidfd.same_file(pid, loop, other) for other in waited_on)
        for loop in loops
    )
