"""The epoll instances of this process: their entries, and moving an entry to another file.

The kernel identifies an entry by file and descriptor number. So an entry stays with its file if
another file replaces it at that number.
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
    """The entry for the descriptor `fd` in the epoll instance at `epoll`."""

    __slots__ = ("_control", "data", "epoll", "events", "fd")

    def __init__(self, epoll: int, fd: int, events: int, data: int) -> None:
        self.epoll = epoll
        self.fd = fd
        self.events = events
        self.data = data
        self._control = _controller(self)

    def remove(self) -> bool:
        """Remove the entry of the file at `fd`; False if there is none."""
        try:
            self._control(_DEL)
        except OSError:
            return False
        return True

    def add(self) -> bool:
        """Add an entry for the file at `fd`; False if that fails."""
        try:
            self._control(_ADD)
        except FileExistsError:
            return True  # added by a process that shares the instance
        except OSError:
            return False
        return True


def entries(epolls: list[int], inode: int, fds: Iterable[int]) -> list[Entry]:
    """The entries of the epoll instances for a file (by inode) at one of the descriptors."""
    return [
        Entry(epoll, fd, int(words[3], 16), int(words[5], 16))
        for epoll in epolls
        for fd, words in _lines(epoll, inode)
        if fd in fds
    ]


def watched(epolls: list[int], inode: int) -> set[int]:
    """The descriptors at which the epoll instances watch a file."""
    return {fd for epoll in epolls for fd, _ in _lines(epoll, inode)}


def _lines(epoll: int, inode: int) -> list[tuple[int, list[bytes]]]:
    tail = b" ino:%x " % inode
    # tfd:        5 events:       19 data:        5  pos:0 ino:1a2b sdev:9
    try:
        lines = threads.read(f"/proc/self/fdinfo/{epoll}").split(b"\n")
    except FileNotFoundError:
        return []  # closed by another thread since it was listed
    found = [line.split() for line in lines if tail in line and line.startswith(b"tfd:")]
    return [(int(words[1]), words) for words in found]


def _controller(entry: Entry) -> Callable[[int], None]:
    """epoll_ctl of the C library or, without ctypes, Python's own epoll if it is still there.

    Python's epoll sets the event data to the descriptor, with random bits in the upper half: an
    event loop in C, which reads all of it, would not recognise the entry.
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

    kind = getattr(select, "epoll", None)  # gevent and eventlet remove it
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
