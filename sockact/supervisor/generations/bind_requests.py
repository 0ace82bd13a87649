"""Answers the bind() and listen() calls of one generation: docs/adopt.md."""

from __future__ import annotations

import os
import select
from functools import partial

from sockact.handover.adopt import Adoption
from sockact.kernel import procfs
from sockact.kernel.seccomp import Call
from sockact.supervisor.base.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.matching import Address, Denied, Traits
    from sockact.handover.lock_files import LockFiles
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop


class BindRequests:
    """The notifications of a generation's seccomp filter, and the questions of its shim."""

    def __init__(
        self,
        loop: Loop,
        listeners: list[Listener],
        pids: Callable[[], list[int]],
        locks: LockFiles,
        answered: Callable[[], None],
    ) -> None:
        """`pids` returns the generation's processes, `locks` are the service's; `answered` is
        called after each bind() and listen().
        """
        self.adoption = Adoption(listeners, partial(_held, pids), locks)
        self._loop = loop
        self._answered = answered
        self._notifications: int | None = None

    def watch(self, notifications: int) -> None:
        """Answer the notifications of a seccomp filter; closes this descriptor at the end."""
        self._notifications = notifications
        self._loop.watch(notifications, READ, self._notified)

    def fileno(self) -> int | None:
        """Return the descriptor of the notifications, if there is one."""
        return self._notifications

    def bind(self, wanted: Address, traits: Traits | None) -> Listener | Denied | None:
        """Answer the shim: a listener, a refusal, or None if the program may bind by itself."""
        found = self.adoption.bind(wanted, traits)
        self._answered()
        return found

    def close(self) -> None:
        """Answer no more notifications."""
        if self._notifications is not None:
            self._loop.unwatch(self._notifications)
            os.close(self._notifications)
            self._notifications = None

    def _notified(self, _mask: int) -> None:
        assert self._notifications is not None
        poll = select.poll()
        poll.register(self._notifications, select.POLLIN)
        events = sum(events for _, events in poll.poll(0))
        if events & select.POLLIN:
            if self.adoption.handle(self._notifications) in (Call.BIND, Call.LISTEN):
                self._answered()
        elif events & select.POLLHUP:
            # The last process that has the filter has ended.
            self.close()
        # Neither: a signal or a kill has withdrawn the notification. Receiving would block.


def _held(pids: Callable[[], list[int]], inode: int) -> bool:
    """Whether a process that can be read has the socket with this inode."""
    for pid in pids():
        try:
            if inode in procfs.sockets(pid).values():
                return True
        except OSError:
            continue
    return False
