"""epoll instances: entries with any event data, which select.epoll does not offer (epoll_ctl(2),
Linux 2.6), and those of other processes (proc_pid_fdinfo(5), Linux 3.8; 4.13 for inodes).

The latter needs the rights of procfs. The process decides how many entries there are, and 4 million
are easily made: reading them would take many seconds. So every look has a limit, which its caller
may share among several processes.
"""

from __future__ import annotations

import ctypes
import errno

from sockact.core.record import dataclass
from sockact.kernel import libc, looks, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

EPOLL_CTL_ADD = 1
EPOLL_CTL_DEL = 2
EPOLL_CTL_MOD = 3
_MOST_BYTES = 16 << 20
"""220,000 entries, which the kernel prints in 0.2 s on one machine."""
_MOST_FOUND = 50_000


@looks.error
class TooMany(OSError):
    """There are more entries than one look may read."""


def _too_many(pid: int) -> TooMany:
    return TooMany(errno.E2BIG, f"process {pid} has too many epoll entries to inspect")


class Limit:
    """What one look may still read."""

    def __init__(self, most: int | None = None, found: int | None = None) -> None:
        self.bytes = _MOST_BYTES if most is None else most
        self.found = _MOST_FOUND if found is None else found


@dataclass(frozen=True)
class EpollEntry:
    """An entry of an epoll instance."""

    fd: int
    events: int
    data: int
    inode: int


def of_process(pid: int, limit: Limit | None = None) -> dict[int, list[EpollEntry]]:
    """The epoll instances of a process: descriptor → entries. Raises TooMany."""
    limit = limit or Limit()
    _sockets, epolls = procfs.sockets_and_epolls(pid)
    return {fd: of_instance(pid, fd, None, limit) for fd in epolls}


def of_instance(
    pid: int, fd: int, inodes: Collection[int] | None = None, limit: Limit | None = None
) -> list[EpollEntry]:
    """The entries of one instance, or only those with one of the `inodes`. Raises TooMany."""
    limit = limit or Limit()
    try:
        text = procfs.read(f"/proc/{pid}/fdinfo/{fd}", limit.bytes + 1)
    except (FileNotFoundError, ProcessLookupError):
        return []
    limit.bytes -= len(text)
    if limit.bytes < 0:
        limit.bytes = 0
        raise _too_many(pid)
    entries: list[EpollEntry] = []
    for line in _lines(text, inodes):
        limit.found -= 1
        if limit.found < 0:
            limit.found = 0
            raise _too_many(pid)
        entries.append(_entry(line))
    return entries


def _lines(text: bytes, inodes: Collection[int] | None) -> Iterator[bytes]:
    """The lines of entries in an fdinfo, or only those with one of the `inodes`."""
    if inodes is None:
        yield from (line for line in text.split(b"\n") if line.startswith(b"tfd:"))
        return
    # There may be thousands of entries, and hardly ever a wanted one: not line by line.
    for inode in inodes:
        wanted = b" ino:%x " % inode
        at = text.find(wanted)
        while at >= 0:
            yield text[text.rfind(b"\n", 0, at) + 1 : at + len(wanted)]
            at = text.find(wanted, at + 1)


def _entry(line: bytes) -> EpollEntry:
    """Read "tfd:        5 events:       19 data: 5  pos:0 ino:2f91 sdev:8": all hexadecimal, except
    for tfd.
    """
    words = line.split()
    fd, events, data, inode = words[1], words[3], words[5], words[7].partition(b":")[2]
    return EpollEntry(int(fd), int(events, 16), int(data, 16), int(inode, 16))


class _EpollEvent(ctypes.Structure):
    """struct epoll_event: packed on x86-64 only (EPOLL_PACKED in linux/eventpoll.h)."""

    if libc.MACHINE == "x86_64":
        _pack_ = 1
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


def control(epfd: int, operation: int, fd: int, events: int = 0, data: int = 0) -> None:
    """Add, remove or change `fd`. The kernel identifies an entry by open file and number.

    Raises FileNotFoundError (EPOLL_CTL_DEL without an entry), FileExistsError (EPOLL_CTL_ADD of an
    entry that exists), OSError.
    """
    event = _EpollEvent(events & 0xFFFFFFFF, data)
    libc.call("epoll_ctl", epfd, operation, fd, ctypes.byref(event))
