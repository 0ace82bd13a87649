"""Answers the bind(), listen() and shutdown() calls of one generation: docs/adopt.md."""

from __future__ import annotations

import os
import select
import time

from sockact.handover.adoption.adopt import Adoption
from sockact.kernel import looks
from sockact.kernel.seccomp import Call
from sockact.supervisor.base.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.matching import Address, Denied
    from sockact.handover.adoption.callers import Callers
    from sockact.handover.adoption.lock_files import LockFiles
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop

_AGAIN = 0.5
"""Seconds until a call whose thread gets no CPU is tried again. Until then its generation's other
calls wait, too, so that such threads together cannot keep the supervisor from its work.
"""


class BindRequests:
    """The notifications of a generation's seccomp filter, and the questions of its shim."""

    def __init__(
        self,
        loop: Loop,
        generation: int,
        listeners: list[Listener],
        callers: Callers,
        locks: LockFiles,
        answered: Callable[[], None],
        shut: Callable[[], None],
    ) -> None:
        """`locks` are the service's. `answered` is called after each bind() and listen(), `shut`
        after each shutdown() of a listener.
        """
        self.adoption = Adoption(listeners, callers, locks)
        self._loop = loop
        self._generation = generation
        self._answered = answered
        self._shut = shut
        self._notifications: int | None = None

    def watch(self, notifications: int) -> None:
        """Answer the notifications of a seccomp filter; closes this descriptor at the end."""
        self._notifications = notifications
        self._loop.watch(notifications, READ, self._notified)

    def fileno(self) -> int | None:
        """Return the descriptor of the notifications, if there is one."""
        return self._notifications

    def bind(self, wanted: Address, pid: int, queue: int | None) -> Listener | Denied | None:
        """Answer the shim of this process: a listener, a refusal, or None if the program may bind
        by itself. Its own socket comes with the next message in `queue`. Raises OSError.
        """
        with looks.charged(self._generation):
            found = self.adoption.ask(wanted, pid, queue)
        self._answered()
        return found

    def look(self, wanted: Address, pid: int) -> bool | None:
        """Whether the shim of this process has to refuse a connection to an own listener; None if
        it need not ask any more. Raises OSError.
        """
        with looks.charged(self._generation):
            return self.adoption.own_connects.answer(wanted, pid)

    def is_busy(self) -> bool:
        """Whether a call was received that is not answered yet."""
        return self.adoption.late is not None

    def close(self) -> None:
        """Answer no more notifications."""
        if self._notifications is not None:
            if self._loop.watched(self._notifications):
                self._loop.unwatch(self._notifications)
            os.close(self._notifications)
            self._notifications = None

    def _notified(self, _mask: int) -> None:
        assert self._notifications is not None
        poll = select.poll()
        poll.register(self._notifications, select.POLLIN)
        events = sum(events for _, events in poll.poll(0))
        if events & select.POLLIN:
            with looks.charged(self._generation):
                call = self.adoption.handle(self._notifications)
            if self.adoption.late:
                self._loop.unwatch(self._notifications)
                self._later()
            elif call in (Call.BIND, Call.LISTEN):
                self._answered()
            elif self.adoption.shut:
                self.adoption.shut.clear()
                self._shut()
        elif events & select.POLLHUP:
            # The last process that has the filter has ended.
            self.close()
        # Neither: a signal or a kill has withdrawn the notification. Receiving would block.

    def _later(self) -> None:
        self._loop.at(time.monotonic() + _AGAIN, self._try_again)

    def _try_again(self) -> None:
        if self._notifications is None:
            return
        with looks.charged(self._generation):
            ended = self.adoption.try_again()
        if not ended:
            self._later()
            return
        self._loop.watch(self._notifications, READ, self._notified)
        self._answered()
