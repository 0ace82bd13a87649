"""Event loops of uvloop, which accept in C: they are given the connections as tasks.

Their servers show the protocol factory to nobody but the garbage collector.
"""

from __future__ import annotations

import os
import sys

from .channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST = 64


class _Reader:
    """A channel that an event loop reads."""

    def __init__(self, channel: Channel, loop: Any, factory: Any) -> None:
        self.channel = channel
        self._loop = loop
        self._factory = factory
        self._tasks: set[Any] = set()

    def call(self, function: Any) -> None:
        """Have the loop call it. Raises RuntimeError if the loop has ended."""
        self._loop.call_soon_threadsafe(function)

    def watch(self) -> None:
        if self in _readers:
            self._loop.add_reader(self.channel.fileno(), self._readable)

    def stop(self) -> None:
        if self in _readers:
            _readers.remove(self)
            self._loop.remove_reader(self.channel.fileno())
            self.channel.close()

    def _readable(self) -> None:
        try:
            for _ in range(_MOST):
                found = self.channel.take()
                if found is None:
                    return
                self._accept(found[0])
        except (OSError, EOFError):
            self.stop()

    def _accept(self, fd: int) -> None:
        connection = sys.modules["socket"].socket(fileno=fd)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._factory, connection))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: Any) -> None:
        self._tasks.discard(task)
        # The client may have gone already; nobody has to be told.
        task.cancelled() or task.exception()


_readers: list[_Reader] = []


def begin(listener: int, fd: int) -> int:
    """As `begin` of accepts.py."""
    found = [one for one in _servers() if _listens(one, listener)]
    factories = [one for one in (_factory(server) for server in found) if one is not None]
    if not factories or len(factories) != len(found):
        return 0
    server, factory = found[0], factories[0]
    loop = next(one for one in _referents(server) if type(one).__name__ == "Loop")
    reader = _Reader(Channel(listener, os.dup(fd)), loop, factory)
    _readers.append(reader)
    try:
        reader.call(reader.watch)
    except RuntimeError:
        _readers.remove(reader)
        reader.channel.close()
        return 0
    return 1


def refuse(listener: int) -> None:
    """Undo `begin`."""
    for reader in [one for one in _readers if one.channel.listener == listener]:
        try:
            reader.call(reader.stop)
        except RuntimeError:
            _readers.remove(reader)
            reader.channel.close()


def _servers() -> list[Any]:
    if "uvloop" not in sys.modules:
        return []
    import gc

    return [
        one
        for one in gc.get_objects()
        if type(one).__name__ == "TCPServer" and type(one).__module__ == "uvloop.loop"
    ]


def _referents(server: Any) -> list[Any]:
    import gc

    return gc.get_referents(server)


def _listens(server: Any, listener: int) -> bool:
    """Whether this is a listener of a server."""
    outer = [one for one in _referents(server) if type(one).__name__ == "Server"]
    fds = [one.fileno() for server in outer for one in server.sockets]
    return any(os.fstat(fd).st_ino == listener for fd in fds if fd >= 0)


def _factory(server: Any) -> Any | None:
    """What makes the protocol of a connection; None if it has TLS, or cannot be told."""
    found = _referents(server)
    if any(type(one).__name__ == "SSLContext" for one in found):
        return None
    callables = [one for one in found if callable(one)]
    return callables[0] if len(callables) == 1 else None
