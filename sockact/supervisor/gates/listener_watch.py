"""Listens again, at once, on listeners that a program has shut down.

All generations share a listener. After shutdown(2) on it the kernel refuses all clients, until
listen(2) is called again. The TCP listeners are in an epoll instance without any events to wait
for: epoll_ctl(2) still reports a hang-up, which is what a shutdown causes. Connections do not wake
the supervisor.
"""

from __future__ import annotations

import select
import socket
import time
from functools import partial

from sockact.core.matching import Kind
from sockact.kernel.sockets.listener import accept_queue
from sockact.supervisor.base.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop

_LARGEST = 1 << 20  # The kernel limits this to net.core.somaxconn.
_AGAIN = 1.0


class ListenerWatch:
    """Watches all TCP listeners of the service."""

    def __init__(
        self,
        loop: Loop,
        listeners: list[Listener],
        wanted: Callable[[Listener], bool],
        say: Callable[[str], None],
    ) -> None:
        """`wanted` returns whether to listen again on a listener; `say` reports shutdowns."""
        self._loop = loop
        self._wanted = wanted
        self._say = say
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[Listener, int]] = {}
        self._said: dict[int, float] = {}
        self._listeners = listeners
        self._shut = False
        for listener in listeners:
            if listener.address.kind is Kind.STREAM and listener.address.port:
                queue = accept_queue(listener)
                limit = queue[1] if queue else _LARGEST
                self._watched[listener.socket.fileno()] = listener, limit
                self._epoll.register(listener.socket, 0)
        loop.watch(self._epoll.fileno(), READ, self._hung_up)

    def look(self) -> None:
        """Look at the listeners now, not only when the loop gets to them."""
        self._hung_up(0)

    def shut_owned(self) -> None:
        """Shut down the listeners that are the supervisor's own: their new clients are refused."""
        if self._shut:
            return
        self._shut = True
        for listener in self._listeners:
            if listener.owned and listener.address.kind is Kind.STREAM:
                self._release(listener)
                listener.socket.shutdown(socket.SHUT_RD)

    def _release(self, listener: Listener) -> None:
        if self._watched.pop(listener.socket.fileno(), None):
            self._unregister(listener.socket.fileno())

    def close(self) -> None:
        """Watch no more."""
        if not self._epoll.closed:
            self._loop.unwatch(self._epoll.fileno())
            self._epoll.close()

    def _hung_up(self, _mask: int) -> None:
        for fd, _events in self._epoll.poll(0):
            listener, limit = self._watched[fd]
            if not self._wanted(listener):
                self._release(listener)
                continue
            try:
                listener.socket.listen(limit)
            except OSError as error:
                self._say(
                    f"the program shut down {listener.address}; cannot listen again "
                    f"({error.strerror}); retrying"
                )
                self._unregister(fd)
                self._loop.at(time.monotonic() + _AGAIN, partial(self._rearm, fd))
            else:
                self._report(listener)

    def _unregister(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except FileNotFoundError:
            pass  # It is out until the next attempt.

    def _rearm(self, fd: int) -> None:
        if fd in self._watched and not self._epoll.closed:
            self._epoll.register(fd, 0)

    def _report(self, listener: Listener) -> None:
        now = time.monotonic()
        if now - self._said.get(listener.inode, -_AGAIN) >= _AGAIN:
            self._said[listener.inode] = now
            self._say(f"the program shut down {listener.address}; listening again")
