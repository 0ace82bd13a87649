"""Gate: the valve on new connections of one generation, for programs that wait in epoll.

pidfd_getfd gives us a duplicate of the program's epoll instance, and we take the listener out of
it. The program is not woken for a new connection again, and keeps serving those that it has.
Putting the same entry back opens the gate.

The kernel's key of an entry is (open file, descriptor number): whoever edits it needs the listener
under the number that the program uses. A short-lived fork has a descriptor table of its own to do
that in.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource

from sockact.core.record import dataclass
from sockact.kernel import epoll, pidfd, procfs, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# By Yama, for want of CAP_SYS_PTRACE, or by a container's filter, which may also pretend that there
# is no such call.
_REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)


class GateRefused(Exception):
    """The gate cannot be moved, for the reason that it names."""


@dataclass(frozen=True)
class Entry:
    """A listener in an epoll instance of a process, as it is to be taken out and put back."""

    pid: int
    epfd: int
    fd: int
    events: int
    data: int
    inode: int

    @property
    def place(self) -> tuple[int, ...]:
        """Where it is: there is one entry at the most."""
        return self.pid, self.epfd, self.fd, self.inode


def entries(pids: Iterable[int], inodes: set[int]) -> list[Entry]:
    """Every place where one of the processes has one of the listeners in an epoll instance."""
    return entries_in({pid: procfs.sockets_and_epolls(pid)[1] for pid in pids}, inodes)


def entries_in(epolls: dict[int, list[int]], inodes: set[int]) -> list[Entry]:
    """As `entries`, from process → its epoll instances."""
    return [
        Entry(pid, epfd, entry.fd, entry.events, entry.data, entry.inode)
        for pid, instances in epolls.items()
        for epfd in instances
        for entry in procfs.epoll_entries(pid, epfd, inodes)
    ]


def refused(entry: Entry) -> str:
    """Why the kernel does not let us edit this process's epoll instances; "" when it does.

    Raises OSError when that cannot be told now.
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
    """Take the entries out. `listeners` maps inode → our descriptor.

    Returns whose epoll instances we are not let to edit, and why: nothing was done to those.
    Raises GateRefused.
    """
    return _edit(epoll.EPOLL_CTL_DEL, found, listeners)


def open(found: list[Entry], listeners: dict[int, int]) -> None:
    """Put the entries back; what waits in the accept queue wakes the program.

    Raises GateRefused.
    """
    for pid, why in _edit(epoll.EPOLL_CTL_ADD, found, listeners).items():
        raise GateRefused(f"pidfd_getfd of process {pid}: {why}")


def _edit(operation: int, found: list[Entry], listeners: dict[int, int]) -> dict[int, str]:
    duplicates: list[tuple[int, Entry]] = []
    kept_out: dict[int, str] = {}
    try:
        for entry in found:
            try:
                duplicates.append((pidfd.getfd(entry.pid, entry.epfd), entry))
            except ProcessLookupError:
                continue
            except OSError as error:
                if error.errno == errno.EBADF:
                    continue  # It has closed that epoll instance meanwhile.
                if error.errno not in _REFUSED:
                    raise GateRefused(f"pidfd_getfd: {error.strerror}") from error
                kept_out[entry.pid] = os.strerror(error.errno)
        if duplicates and (code := _in_fork(operation, duplicates, listeners)):
            raise GateRefused(f"epoll_ctl: {os.strerror(code)}")
    except BlockingIOError as error:
        raise GateRefused(f"fork: {error.strerror}") from error
    finally:
        for duplicate, _ in duplicates:
            os.close(duplicate)
    return kept_out


def _in_fork(operation: int, duplicates: list[tuple[int, Entry]], listeners: dict[int, int]) -> int:
    """Edit in a child with a descriptor table of its own; the first errno that matters, or 0.

    The wait is bounded by a handful of system calls that do not block.
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
    # Out of the way of the numbers that the entries need.
    above = 1 + max(entry.fd for _, entry in duplicates)
    high = {inode: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for inode, fd in listeners.items()}
    moved = [(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above), entry) for fd, entry in duplicates]
    failed = 0
    for epfd, entry in moved:
        os.dup2(high[entry.inode], entry.fd)
        try:
            epoll.control(epfd, operation, entry.fd, entry.events, entry.data)
        except (FileNotFoundError, FileExistsError):
            continue  # Processes that share one instance: it is done already.
        except OSError as error:
            failed = failed or error.errno or errno.EIO
    return failed
