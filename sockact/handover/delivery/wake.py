"""Wakes event loops that wait for a listener, as if a client had connected: epoll_ctl(2),
eventfd(2) (Linux 2.6.22).

An eventfd gets into the loop's epoll instance with the event data of the listener. The kernel
removes it when this process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import select

from sockact.kernel import epoll, pidfd, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.handover.delivery.target import Target

_MOST = 64
"""Events of one entry. Programs ask for 128 and more at once."""


class Wake:
    """An event in all epoll instances in which a process watches the listener; perhaps none."""

    def __init__(self, target: Target, accepts: int) -> None:
        """Nobody is woken yet. A loop is told `accepts` times at once, if that does no harm. Raises
        OSError.
        """
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._once: list[tuple[int, int, int]] = []
        """(instance, our number of the event, data) of entries that report once."""
        instances: dict[int, int] = {}
        for epfd, entry in target.entries:
            if epfd not in instances:
                instances[epfd] = pidfd.getfd(target.pid, epfd)
            once = entry.events & select.EPOLLONESHOT
            events = select.EPOLLIN | once
            # libuv accepts once for each event; a busy loop serves all its clients in between. In
            # vain, an accept would wait on a listener that blocks.
            waits = not procfs.descriptor_flags(target.pid, entry.fd) & os.O_NONBLOCK
            for _ in range(1 if once or waits else min(accepts, _MOST)):
                own = os.dup(self._event)  # An instance may have several entries of the listener.
                epoll.control(instances[epfd], epoll.EPOLL_CTL_ADD, own, events, entry.data)
            if once:
                self._once.append((instances[epfd], own, entry.data))

    def begin(self) -> None:
        """Wake the loops, as long as `end` is not called."""
        os.eventfd_write(self._event, 1)

    def again(self) -> None:
        """Wake loops once more that are told once, and wait again."""
        for instance, own, data in self._once:
            events = select.EPOLLIN | select.EPOLLONESHOT
            epoll.control(instance, epoll.EPOLL_CTL_MOD, own, events, data)

    def end(self) -> None:
        """Wake nobody any more."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._event)
