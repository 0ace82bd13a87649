"""epoll_ctl(2) with any event data, which select.epoll does not offer. Linux 2.6."""

from __future__ import annotations

import ctypes
import os

from sockact.kernel.libc import MACHINE

EPOLL_CTL_ADD = 1
EPOLL_CTL_DEL = 2

_LIBC = ctypes.CDLL(None, use_errno=True)


class _EpollEvent(ctypes.Structure):
    """struct epoll_event: packed on x86-64 only (EPOLL_PACKED in linux/eventpoll.h)."""

    if MACHINE == "x86_64":
        _pack_ = 1
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


def control(epfd: int, operation: int, fd: int, events: int = 0, data: int = 0) -> None:
    """Add or remove `fd`. The kernel identifies an entry by open file and descriptor number.

    Raises FileNotFoundError (EPOLL_CTL_DEL without an entry), FileExistsError (EPOLL_CTL_ADD of an
    entry that exists), OSError.
    """
    ctypes.set_errno(0)
    event = _EpollEvent(events & 0xFFFFFFFF, data)
    if _LIBC.epoll_ctl(epfd, operation, fd, ctypes.byref(event)) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
