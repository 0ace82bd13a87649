"""epoll_ctl(2) with any event data, which select.epoll does not offer. Linux 2.6."""

from __future__ import annotations

import ctypes

from sockact.kernel import libc

EPOLL_CTL_ADD = 1
EPOLL_CTL_DEL = 2


class _EpollEvent(ctypes.Structure):
    """struct epoll_event: packed on x86-64 only (EPOLL_PACKED in linux/eventpoll.h)."""

    if libc.MACHINE == "x86_64":
        _pack_ = 1
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


def control(epfd: int, operation: int, fd: int, events: int = 0, data: int = 0) -> None:
    """Add or remove `fd`. The kernel identifies an entry by open file and descriptor number.

    Raises FileNotFoundError (EPOLL_CTL_DEL without an entry), FileExistsError (EPOLL_CTL_ADD of an
    entry that exists), OSError.
    """
    event = _EpollEvent(events & 0xFFFFFFFF, data)
    libc.call("epoll_ctl", epfd, operation, fd, ctypes.byref(event))
