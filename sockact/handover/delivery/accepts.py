"""Answers to the accepts of one generation that were made a bind() for a delivery (bringing.py).

One that comes when nothing is delivered any more has lost its tracer, which would have had it made
again.
"""

from __future__ import annotations

import errno
import os

from sockact.kernel import procfs, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockact.handover.delivery.delivery import Delivery
    from sockact.kernel.seccomp import Notification


class Accepts:
    """The deliveries to one generation, one at a time."""

    def __init__(self, listeners: Mapping[int, int]) -> None:
        """`listeners` maps inode → our descriptor."""
        self._listeners = listeners
        self._delivery: Delivery | None = None

    def begin(self, delivery: Delivery) -> None:
        """Answer with the connections of this delivery."""
        self._delivery = delivery

    def end(self) -> None:
        """Answer that there are no connections."""
        self._delivery = None

    def answer(self, fd: int, notification: Notification) -> bool:
        """Answer a notified bind() if it is an accept on a listener; return whether it is one.

        Raises OSError.
        """
        target, _address, length, *_ = (x & 0xFFFFFFFF for x in notification.arguments)
        if length in seccomp.BIND_LENGTHS:
            return False
        ours = self._listeners.get(procfs.socket_inode(notification.tid, target) or 0)
        if ours is None:
            return False
        if self._delivery is None or not self._delivery.answer(fd, notification):
            # As if another thread had taken it, or a signal had interrupted the call.
            error = errno.EINTR if os.get_blocking(ours) else errno.EAGAIN
            seccomp.answer(fd, notification, error)
        return True
