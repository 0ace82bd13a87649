"""Keeps the listeners reachable, whatever a program does to them.

All generations share a listener. After shutdown(2) on it the kernel refuses all clients, until
listen(2) is called again; after a further connect(2) it is a client itself. Both are undone at
once. The stream listeners are in an epoll instance that reports a hang-up, which a shutdown causes,
and that they can be written to, which only connected sockets can. New connections do not wake the
supervisor.

Options that keep clients away are undone at each launch and before a commit (`repair_all`), and
when a generation has ended (`repair_after_end`, which leaves the socket filter with which
`sockact unwrap` makes clients wait).
"""

from __future__ import annotations

import contextlib
import select
import time
from functools import partial

from sockact.core.matching import Family, Kind
from sockact.handover import listener_changes
from sockact.kernel import looks
from sockact.kernel.looks import Unavailable
from sockact.kernel.sockets.listener import accept_queue
from sockact.supervisor.base.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.handover.listener_changes import File
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop

_LARGEST = 1 << 20  # The kernel limits this to net.core.somaxconn.
_AGAIN = 1.0
_PAUSE = 0.1
_MOST_REPAIRS = 20
"""Repairs of one listener within _AGAIN seconds, after which the next one waits for _PAUSE."""


class _Repairs:
    """The repairs of one listener, and when they were reported."""

    def __init__(self) -> None:
        self.since = self.said = -_AGAIN
        self.count = 0

    def too_many(self, now: float) -> bool:
        """Count one more; return whether it is too many for a moment."""
        if now - self.since >= _AGAIN:
            self.since, self.count = now, 0
        self.count += 1
        return self.count > _MOST_REPAIRS

    def is_news(self, now: float) -> bool:
        """Whether a message is due, at most one in _AGAIN seconds."""
        due = now - self.said >= _AGAIN
        self.said = now if due else self.said
        return due


class ListenerWatch:
    """Watches and repairs all listeners of the service."""

    def __init__(
        self,
        loop: Loop,
        listeners: list[Listener],
        wanted: Callable[[Listener], bool],
        say: Callable[[str], None],
        stopped: Callable[[Listener], None],
        listens_again: Callable[[Listener], None],
        steer: Callable[[], None],
    ) -> None:
        """`wanted` returns whether a listener still has to listen; `say` reports repairs.
        `stopped` is called when one was shut down, `listens_again` after its repair. If one of them
        raises OSError, `steer` is called until it does not.
        """
        self._loop = loop
        self._wanted = wanted
        self._say = say
        self._stopped = stopped
        self._listens_again = listens_again
        self._steer = steer
        self._missteered = False
        self._epoll = select.epoll()
        self._watched: dict[int, Listener] = {}
        self._listeners = listeners
        self._repairs = {listener.inode: _Repairs() for listener in listeners}
        self._limits = {listener.inode: _limit(listener) for listener in listeners}
        self._files = {listener.inode: _file(listener) for listener in listeners}
        self._shut = False
        for listener in listeners:
            if listener.address.kind is Kind.STREAM:
                self._watched[listener.socket.fileno()] = listener
                self._register(listener.socket.fileno())
        loop.watch(self._epoll.fileno(), READ, self._changed)

    def repair_all(self) -> str:
        """Repair the listeners now. Return why no client can connect to one of them; "" if nothing
        is known to hinder clients.
        """
        try:
            return self.try_to_repair_all()
        except Unavailable:
            return ""

    def repair_after_end(self) -> None:
        """Repair the listeners now that a generation has ended, but let `sockact unwrap`, or a
        pause, go on.
        """
        with contextlib.suppress(Unavailable):
            self.try_to_repair_all(admit=False)

    def try_to_repair_all(self, *, admit: bool = True) -> str:
        """As `repair_all`; if `admit` is false, their filter stays.

        Raises Unavailable if there are no descriptors left for it.
        """
        self._changed(0)
        wanted = [x for x in self._listeners if self._wanted(x)]
        known = [(x, self._limits[x.inode], self._files[x.inode]) for x in wanted]
        try:
            found = listener_changes.tidy(known, admit=admit)
        except OSError as error:
            if looks.is_for_want(error):
                raise looks.as_unavailable(error) from None
            return _unknown(wanted, str(error.strerror))
        troubles = [_trouble(x, why) for x, why in zip(wanted, found, strict=True) if why]
        return troubles[0] if troubles else ""

    def shut_owned(self) -> None:
        """Shut down the listeners that are the supervisor's own: their new clients are refused."""
        if self._shut:
            return
        self._shut = True
        for listener in self._listeners:
            if listener.owned and listener.address.kind is Kind.STREAM:
                self._release(listener)
                with contextlib.suppress(OSError):  # Or new clients wait until the end.
                    listener_changes.shut(listener)

    def close(self) -> None:
        """Watch no more."""
        if not self._epoll.closed:
            self._loop.unwatch(self._epoll.fileno())
            self._epoll.close()

    def _changed(self, _mask: int) -> None:
        # In the order in which they were shut down, on which the numbers of lanes depend.
        found = [self._watched[fd] for fd, _events in self._epoll.poll(0)]
        for listener in found:
            self._tell(self._stopped, listener)
        for listener in found:
            if self._wanted(listener):
                self._repair(listener)
            else:
                self._release(listener)

    def _repair(self, listener: Listener) -> None:
        repairs, now = self._repairs[listener.inode], time.monotonic()
        if repairs.too_many(now):
            # A program that does it again and again must not keep the supervisor busy.
            self._repair_later(listener, _PAUSE)
            return
        try:
            did, why = listener_changes.repair(listener, self._limits[listener.inode])
        except Unavailable:
            self._repair_later(listener, _AGAIN)
            return
        except OSError as error:
            self._say(f"cannot listen again on {listener.address} ({error.strerror}); retrying")
            self._repair_later(listener, _AGAIN)
            return
        if did:
            self._tell(self._listens_again, listener)
        if why:
            self._say(_trouble(listener, why))
            self._release(listener)
        elif did and repairs.is_news(now):
            self._say(f"the program {did} {listener.address}; listening again")

    def _tell(self, tell: Callable[[Listener], None], listener: Listener) -> None:
        """Call one of `stopped` and `listens_again`. The repair goes on without it."""
        try:
            tell(listener)
        except OSError:
            self._steer_later()

    def _steer_later(self) -> None:
        # Until then the kernel has the numbers of before: clients may wait in a lane of nobody.
        if not self._missteered:
            self._missteered = True
            self._loop.at(time.monotonic() + _AGAIN, self._steer_anew)

    def _steer_anew(self) -> None:
        self._missteered = False
        try:
            self._steer()
        except OSError:
            self._steer_later()

    def _repair_later(self, listener: Listener, pause: float) -> None:
        fd = listener.socket.fileno()
        self._unregister(fd)
        self._loop.at(time.monotonic() + pause, partial(self._rearm, fd))

    def _release(self, listener: Listener) -> None:
        if self._watched.pop(listener.socket.fileno(), None):
            self._unregister(listener.socket.fileno())

    def _unregister(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except FileNotFoundError:
            pass  # It is out until the next attempt.

    def _rearm(self, fd: int) -> None:
        if fd in self._watched and not self._epoll.closed:
            self._register(fd)

    def _register(self, fd: int) -> None:
        unix = self._watched[fd].address.family is Family.UNIX
        self._epoll.register(fd, select.EPOLLRDHUP if unix else select.EPOLLOUT)


def _limit(listener: Listener) -> int:
    queue = accept_queue(listener)
    return queue[1] if queue else _LARGEST


def _unknown(found: list[Listener], why: str) -> str:
    """Nobody knows which of them cannot be looked at."""
    where = found[0].address if len(found) == 1 else "one of the listeners"
    return f"cannot tell whether clients can connect to {where}: {why}; stop that process"


def _file(listener: Listener) -> File | None:
    try:
        return listener_changes.socket_file(listener)
    except OSError:
        return None


def _trouble(listener: Listener, why: str) -> str:
    what = "the service" if listener.owned else "its .socket unit"
    return f"no client can connect to {listener.address}: {why}; restart {what}"
