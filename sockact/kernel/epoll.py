"""epoll_ctl(2) with the caller's own event data, which select.epoll does not offer."""

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
    """Add or remove `fd`. The kernel's key is the open file together with the fd number.

    Raises FileNotFoundError (DEL of what is not there), FileExistsError (ADD of what is), OSError.
    """
    ctypes.set_errno(0)
    event = _EpollEvent(events & 0xFFFFFFFF, data)
    if _LIBC.epoll_ctl(epfd, operation, fd, ctypes.byref(event)) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
