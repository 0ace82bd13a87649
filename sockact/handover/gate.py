"""Gate: stops and resumes accepting, for programs that wait for connections in epoll.

pidfd_getfd gives us a duplicate of the program's epoll instance, and we remove the listener from
it. The program is not woken for new connections any more, and keeps serving those that it has.
Adding the same entry again opens the gate.

The kernel identifies an entry by (open file, descriptor number), so the listener needs the number
that the program uses. A short-lived child process has its own descriptor table for that.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource

from sockact.core.record import dataclass
from sockact.kernel import epoll, epoll_entries, pidfd, procfs, signals
from sockact.kernel.kcmp import same_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

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
    def place(self) -> tuple[int, ...]:
        """What identifies the entry."""
        return self.pid, self.epfd, self.fd, self.inode


def entries(
    pids: Iterable[int], inodes: set[int], limit: epoll_entries.Limit | None = None
) -> list[Entry]:
    """The entries of these listeners (by inode) in all epoll instances of the processes.

    Raises PermissionError, procfs.Unavailable and epoll_entries.TooMany.
    """
    return entries_in({pid: procfs.sockets_and_epolls(pid)[1] for pid in pids}, inodes, limit)


def entries_in(
    epolls: dict[int, list[int]], inodes: set[int], limit: epoll_entries.Limit | None = None
) -> list[Entry]:
    """As `entries`, from process → descriptors of its epoll instances."""
    limit = limit or epoll_entries.Limit()
    return [
        Entry(pid, epfd, entry.fd, entry.events, entry.data, entry.inode)
        for pid, instances in epolls.items()
        for epfd in instances
        for entry in epoll_entries.of_instance(pid, epfd, inodes, limit)
    ]


def refused(entry: Entry) -> str:
    """Why the kernel does not let us edit the epoll instances of this process; "" if it does.

    Raises OSError if the kernel cannot tell at this moment.
    """
    try:
        os.close(pidfd.getfd(entry.pid, entry.epfd))
    except ProcessLookupError:
        return ""
    except OSError as error:
        if error.errno in _REFUSED:
            return os.strerror(error.errno)
        if error.errno != errno.EBADF:
            raise
    return ""


def close(found: list[Entry], listeners: dict[int, int]) -> dict[int, str]:
    """Remove the entries. `listeners` maps inode → our descriptor.

    Returns process → reason for the processes whose epoll instances we may not edit; their entries
    are unchanged. Raises GateRefused.
    """
    return _edit(epoll.EPOLL_CTL_DEL, found, listeners)


def open(found: list[Entry], listeners: dict[int, int]) -> None:
    """Add the entries again; connections in the accept queue wake the program.

    Raises GateRefused.
    """
    for pid, why in _edit(epoll.EPOLL_CTL_ADD, found, listeners).items():
        raise GateRefused(f"pidfd_getfd of process {pid}: {why}")


def _edit(operation: int, found: list[Entry], listeners: dict[int, int]) -> dict[int, str]:
    duplicates: list[tuple[int, Entry]] = []
    refusals: dict[int, str] = {}
    try:
        for entry in found:
            try:
                duplicates.append((pidfd.getfd(entry.pid, entry.epfd), entry))
            except ProcessLookupError:
                continue
            except OSError as error:
                if error.errno == errno.EBADF:
                    continue  # The program has closed that epoll instance meanwhile.
                if error.errno not in _REFUSED:
                    raise GateRefused(f"pidfd_getfd: {error.strerror}") from error
                refusals[entry.pid] = os.strerror(error.errno)
        if duplicates and (code := _in_fork(operation, duplicates, listeners)):
            raise GateRefused(f"epoll_ctl: {os.strerror(code)}")
    except BlockingIOError as error:
        raise GateRefused(f"fork: {error.strerror}") from error
    finally:
        for duplicate, _ in duplicates:
            os.close(duplicate)
    return refusals


def _in_fork(operation: int, duplicates: list[tuple[int, Entry]], listeners: dict[int, int]) -> int:
    """Edit in a child process with its own descriptor table. Returns the first errno, or 0.

    The child makes a handful of system calls that do not block.
    """
    with signals.blocked():
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(_edit_here(operation, duplicates, listeners))
            except OSError as error:
                os._exit(error.errno or errno.EIO)
            finally:
                os._exit(errno.EIO)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _edit_here(
    operation: int, duplicates: list[tuple[int, Entry]], listeners: dict[int, int]
) -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Above the descriptor numbers of the entries.
    above = 1 + max(entry.fd for _, entry in duplicates)
    high = {inode: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for inode, fd in listeners.items()}
    moved = [(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above), entry) for fd, entry in duplicates]
    failed = 0
    for epfd, entry in moved:
        os.dup2(high[entry.inode], entry.fd)
        try:
            epoll.control(epfd, operation, entry.fd, entry.events, entry.data)
        except (FileNotFoundError, FileExistsError):
            continue  # Already done, for another process that shares the instance.
        except OSError as error:
            failed = failed or error.errno or errno.EIO
    return failed


def at_rest(pid: int, loops: set[int]) -> bool:
    """Whether a process can no longer accept a connection that it was told of before its gate
    closed: no thread is under way, and some thread waits on each of the epoll instances `loops`
    that the listener was removed from.

    Such a process may have been starved, stopped, or busy with other events. True if the process
    is gone, False if it may not be read. Raises procfs.Unavailable.
    """
    try:
        threads = procfs.threads(pid)
    except PermissionError:
        return False
    if any(thread.state in _UNDER_WAY for thread in threads):
        return False
    waited_on = {thread.waits_on for thread in threads if thread.waits_on is not None}
    # tokio has two descriptors of its epoll instance, and waits on one of them.
    return not threads or all(
        loop in waited_on or any(same_file(pid, loop, other) for other in waited_on)
        for loop in loops
    )
