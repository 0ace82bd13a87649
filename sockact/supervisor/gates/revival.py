"""Listeners that a program has shut down listen again at once.

The socket is everybody's: shutdown(2) on it makes the kernel refuse all clients, until somebody
calls listen(2) again. An epoll instance of our own holds the TCP listeners with no events to wait
for; the kernel reports a hang-up all the same (epoll_ctl(2)), and that is what a shutdown is. No
connection wakes us.
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

_LARGEST = 1 << 20  # The kernel has a limit of its own: net.core.somaxconn.
_AGAIN = 1.0


class Revival:
    """The watch over all TCP listeners of the service.

    `say` is told of each shutdown, `wanted` is asked whether that listener is to listen again.
    """

    def __init__(
        self,
        loop: Loop,
        listeners: list[Listener],
        wanted: Callable[[Listener], bool],
        say: Callable[[str], None],
    ) -> None:
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
        """At once, rather than when the loop comes to it."""
        self._hung_up(0)

    def shut_owned(self) -> None:
        """Refuse new clients of the listeners that are the supervisor's own, for good."""
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
                    f"the program shut {listener.address} down: {error.strerror}; trying again"
                )
                self._unregister(fd)
                self._loop.at(time.monotonic() + _AGAIN, partial(self._rearm, fd))
            else:
                self._report(listener)

    def _unregister(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except FileNotFoundError:
            pass  # It waits for the next attempt.

    def _rearm(self, fd: int) -> None:
        if fd in self._watched and not self._epoll.closed:
            self._epoll.register(fd, 0)

    def _report(self, listener: Listener) -> None:
        now = time.monotonic()
        if now - self._said.get(listener.inode, -_AGAIN) >= _AGAIN:
            self._said[listener.inode] = now
            self._say(f"the program shut {listener.address} down; it listens again")
