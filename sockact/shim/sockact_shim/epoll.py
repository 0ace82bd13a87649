"""The epoll instances of this process: what they watch, and moving an entry to another file.

The kernel's key of an entry is the file and its number. So an entry stays with its file when
another one is laid over the number.
"""

from __future__ import annotations

import os
import struct

from . import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable

_ADD = 1
_DEL = 2


class Entry:
    """What the instance at `epoll` watches at the number `fd`."""

    __slots__ = ("_control", "data", "epoll", "events", "fd")

    def __init__(self, epoll: int, fd: int, events: int, data: int) -> None:
        self.epoll = epoll
        self.fd = fd
        self.events = events
        self.data = data
        self._control = _means(self)

    def remove(self) -> bool:
        """Whether the instance watched the file that the number shows now."""
        try:
            self._control(_DEL)
        except OSError:
            return False
        return True

    def add(self) -> bool:
        """Whether the instance watches the file that the number shows now."""
        try:
            self._control(_ADD)
        except FileExistsError:
            return True  # a process that shares the instance has added it
        except OSError:
            return False
        return True


def entries(epolls: list[int], inode: int, fds: Iterable[int]) -> list[Entry]:
    """The entries of the instances for a file at some numbers."""
    return [
        Entry(epoll, fd, int(words[3], 16), int(words[5], 16))
        for epoll in epolls
        for fd, words in _lines(epoll, inode)
        if fd in fds
    ]


def watched(epolls: list[int], inode: int) -> set[int]:
    """The numbers at which the instances watch a file."""
    return {fd for epoll in epolls for fd, _ in _lines(epoll, inode)}


def _lines(epoll: int, inode: int) -> list[tuple[int, list[bytes]]]:
    tail = b" ino:%x " % inode
    # tfd:        5 events:       19 data:        5  pos:0 ino:1a2b sdev:9
    try:
        lines = threads.read(f"/proc/self/fdinfo/{epoll}").split(b"\n")
    except FileNotFoundError:
        return []  # another thread has closed it since it was listed
    found = [line.split() for line in lines if tail in line and line.startswith(b"tfd:")]
    return [(int(words[1]), words) for words in found]


def _means(entry: Entry) -> Callable[[int], None]:
    """The C library; where there is no ctypes, Python's own epoll, unless that was taken away.

    The latter's data is the number, with whatever lay on the stack in the upper half: for an entry
    of a C library, which reads all of it, that would be another one.
    """
    try:
        return _c(entry)
    except (ImportError, OSError, AttributeError):
        python = _python(entry)
        if python is None:
            raise
        return python


def _python(entry: Entry) -> Callable[[int], None] | None:
    import select

    kind = getattr(select, "epoll", None)  # gevent and eventlet take it away
    if kind is None:
        return None

    def control(operation: int) -> None:
        instance = kind.fromfd(os.dup(entry.epoll))
        try:
            if operation == _ADD:
                instance.register(entry.fd, entry.events)
            else:
                instance.unregister(entry.fd)
        finally:
            instance.close()

    return control


def _c(entry: Entry) -> Callable[[int], None]:
    import ctypes

    epoll_ctl = ctypes.CDLL(None, use_errno=True).epoll_ctl
    # struct epoll_event is packed on x86-64 only.
    layout = "=IQ" if os.uname().machine == "x86_64" else "@IQ"
    event = struct.pack(layout, entry.events, entry.data)

    def control(operation: int) -> None:
        if epoll_ctl(entry.epoll, operation, entry.fd, event):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return control
