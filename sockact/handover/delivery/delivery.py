"""One delivery: some connections on their way into a process that waits on a listener.

Another process has the target accept them (bringing.py), and this one answers the notifications of
its seccomp filter. Either of them may be killed: docs/delivery.md.
"""

from __future__ import annotations

import marshal
import os
import socket
from functools import partial

from sockact.core.record import dataclass
from sockact.handover.delivery import bringing
from sockact.kernel import seccomp
from sockact.kernel.helper import Helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.kernel.seccomp import Notification

MOST = 256
"""Connections of one delivery. Their reports fit into the pipe, so bringing never waits for it."""
_ENDED = "the process that traces it was killed"


@dataclass(frozen=True)
class Parcel:
    """A connection to deliver."""

    fd: int
    """Our descriptor, which stays open."""
    peer: bytes
    """The address of its client, as a struct sockaddr: addresses.py."""


class Delivery:
    """A delivery under way. Ends by itself, shortly after `within` seconds at the latest."""

    def __init__(self, pid: int, inode: int, found: Sequence[Parcel], within: float) -> None:
        """Deliver to this process, which waits on the listener with this inode. Raises OSError."""
        self._parcels = tuple(found[:MOST])
        self._accepts: dict[int, tuple[int, int]] = {}
        self.taken: list[Parcel] = []
        """Those that the process has accepted."""
        self.is_impossible = False
        """Nothing will be delivered to the process later, either: known at the end."""
        self._reports, reports = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._helper = Helper(partial(bringing.bring, reports=reports), keep=[reports])
        except OSError:
            os.close(self._reports)
            raise
        finally:
            os.close(reports)
        peers = tuple(parcel.peer for parcel in self._parcels)
        self._helper.begin(marshal.dumps((pid, inode, peers, within)))

    @property
    def pid(self) -> int:
        """The process that has the target accept."""
        return self._helper.pid

    def fileno(self) -> int:
        """Return what can be read at the end."""
        return self._helper.fileno()

    def answer(self, fd: int, notification: Notification) -> bool:
        """Answer a notified bind() that is an accept with its connection; False if there is none
        for it, or it cannot be given. Then it is not answered.
        """
        self._read_reports()
        index, flags = self._accepts.pop(notification.tid, (-1, 0))
        if index < 0:
            return False
        parcel = self._parcels[index]
        before = os.get_blocking(parcel.fd)
        os.set_blocking(parcel.fd, not flags & socket.SOCK_NONBLOCK)
        try:
            cloexec = bool(flags & socket.SOCK_CLOEXEC)
            number = seccomp.add_fd(fd, notification, parcel.fd, cloexec=cloexec)
        except OSError:
            os.set_blocking(parcel.fd, before)
            return False
        seccomp.answer(fd, notification, value=number)
        self.taken.append(parcel)
        return True

    def end(self) -> str:
        """End it; return why not all connections were taken, "" if they were."""
        found = self._helper.result() if self._helper.has_ended() else None
        os.close(self._reports)
        self._helper.close()
        if len(self.taken) == len(self._parcels):
            return ""
        if found is None:
            return _ENDED
        why: str
        why, self.is_impossible = marshal.loads(found)
        return why

    def _read_reports(self) -> None:
        try:
            data = os.read(self._reports, MOST * bringing.REPORT.size)
        except BlockingIOError:
            return
        for tid, index, flags in bringing.REPORT.iter_unpack(data):
            self._accepts[tid] = index, flags
