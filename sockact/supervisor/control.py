"""The server of RUNTIME/control: it carries Varlink calls to a Service and its answers back.

Nothing here blocks, and nothing that a client sends, or fails to read, raises out of a callback of
the loop; an exception of the Service itself does, because it is a bug. A connection without a call
under way costs no timer and no work. See docs/control.md for the protocol's promises.

A connection has at most one call under way (`pending`). The next one is taken from the input when
it is answered and its reply has left, one for each turn of the loop, so that no client keeps the
supervisor from its work.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time

import sockact
from sockact.supervisor import control_socket, paths, varlink
from sockact.supervisor.loop import READ, WRITE
from sockact.supervisor.varlink import INTERFACE, Malformed
from sockact.supervisor.varlink import Refused as Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Protocol

    from sockact.supervisor.loop import Loop, Timer
    from sockact.supervisor.varlink import Call, JsonObject

    class Service(Protocol):
        """What the calls are about. May raise Refused(STOPPING) and the like."""

        def status(self) -> JsonObject:
            """The ServiceStatus of the interface, as plain JSON data."""

        def reload(
            self, wait_drained: bool, done: Callable[[JsonObject, bool], None]
        ) -> Callable[[], None]:
            """Begin or join a reload; `done(handover, ok)` is called once, later or at once.

            What it returns is called, before `done`, when the client has left.
            """

        def stop(self, now: bool, done: Callable[[], None]) -> None:
            """Begin to stop; `done()` is called when the service has stopped."""


STOPPING = f"{INTERFACE}.Stopping"
RELOAD_FAILED = f"{INTERFACE}.ReloadFailed"
TOO_MANY_CONNECTIONS = f"{INTERFACE}.TooManyConnections"

CONNECTIONS_LIMIT = 128
# A connection's first call may take this long to arrive before it counts as one that asks nothing.
_YOUNG_SECONDS = 1.0
# Bytes that a client may leave unread, beyond what the kernel holds, when the next reply is due.
_OUTBOX_LIMIT = 256 * 1024
_READ_SIZE = 64 * 1024
_PUSH_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Server:
    """Listens on the control socket in `directory`, whose lock the caller holds."""

    def __init__(self, loop: Loop, directory: str, service: Service) -> None:
        """Raises paths.RuntimeDirError when the socket cannot be made."""
        self._loop = loop
        self._service = service
        self._path = paths.control_path(directory)
        self._connections: dict[int, _Connection] = {}
        self._subscriptions: set[_Pending] = set()
        self._timer: Timer | None = None
        self._retry: Timer | None = None
        self._stale = False
        self._listener = control_socket.listen(self._path, CONNECTIONS_LIMIT)
        loop.watch(self._listener.fileno(), READ, self._accept)

    def changed(self) -> None:
        """The status has changed: subscribers get the new one as soon as the loop turns."""
        if self._subscriptions and not self._stale:
            self._stale = True
            self._schedule(time.monotonic())

    def flush(self) -> None:
        """Send what is due, as far as the clients' buffers take it; never waits."""
        if self._stale:
            self._push()
        for connection in tuple(self._connections.values()):
            connection.flush()

    def close(self) -> None:
        """Flush, close every connection and remove the socket. Nobody's cancel is called."""
        if self._listener.fileno() < 0:
            return
        self.flush()
        for connection in tuple(self._connections.values()):
            connection.pending = None
            connection.drop()
        self._subscriptions.clear()
        for timer in (self._timer, self._retry):
            if timer:
                timer.cancel()
        if self._loop.watched(self._listener.fileno()):
            self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _accept(self, _mask: int) -> None:
        try:
            sock = self._listener.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _NO_RESOURCES:
                raise
            # The client stays in the queue, which would keep the loop spinning.
            self._loop.unwatch(self._listener.fileno())
            self._retry = self._loop.at(time.monotonic() + _RETRY_SECONDS, self._resume)
            return
        sock.setblocking(False)
        if not control_socket.permitted(sock):
            control_socket.turn_away(sock, varlink.PERMISSION_DENIED)
        elif not self._make_room():
            control_socket.turn_away(sock, TOO_MANY_CONNECTIONS)
        else:
            self._connections[sock.fileno()] = _Connection(self._loop, sock, self)

    def _resume(self) -> None:
        self._loop.watch(self._listener.fileno(), READ, self._accept)

    def _make_room(self) -> bool:
        """Room for one more, if need be in the place of the oldest that asks for nothing."""
        if len(self._connections) < CONNECTIONS_LIMIT:
            return True
        old = time.monotonic() - _YOUNG_SECONDS
        for connection in self._connections.values():
            if connection.pending is None and connection.since <= old:
                # Its call may be on the way: it has to know that nobody took it.
                connection.send(varlink.encode_error(Refused(TOO_MANY_CONNECTIONS)))
                connection.drop()
                return True
        return False

    def forget(self, connection: _Connection) -> None:
        """The connection with this fd, which is still open, is being dropped."""
        del self._connections[connection.fd]

    def handle(self, connection: _Connection, call: Call) -> None:
        """Answer the call now, or leave it pending."""
        pending = _Pending(connection)
        if not call.oneway:
            connection.pending = pending
        try:
            self._dispatch(call, pending)
        except Refused as refusal:
            pending.finish(varlink.encode_error(refusal))

    def _dispatch(self, call: Call, pending: _Pending) -> None:
        if call.interface == varlink.SERVICE:
            info = {"vendor": "sockact", "product": "sockact", "version": sockact.__version__}
            answer = varlink.answer_service(call, {**info, "url": ""}, [INTERFACE], _describe)
            pending.finish(varlink.encode_reply(answer))
        elif call.interface != INTERFACE:
            raise Refused(varlink.INTERFACE_NOT_FOUND, {"interface": call.interface})
        elif call.member == "Status":
            self._status(call, pending)
        elif call.member == "Reload":
            self._reload(call, pending)
        elif call.member == "Stop":
            call.allow("now")
            self._service.stop(call.flag("now"), lambda: pending.finish(varlink.encode_reply({})))
        else:
            raise Refused(varlink.METHOD_NOT_FOUND, {"method": call.method})

    def _status(self, call: Call, pending: _Pending) -> None:
        call.allow()
        if not call.more:
            pending.finish(varlink.encode_reply({"status": self._service.status()}))
            return
        pending.cancel = lambda: self._unsubscribe(pending)
        self._subscriptions.add(pending)
        pending.connection.send(self._status_reply())
        if self._subscriptions and not self._timer:
            self._schedule(time.monotonic() + _PUSH_SECONDS)

    def _reload(self, call: Call, pending: _Pending) -> None:
        call.allow("wait_drained")

        def done(handover: JsonObject, ok: bool) -> None:
            answer = {"handover": handover}
            error = Refused(RELOAD_FAILED, answer)
            pending.finish(varlink.encode_reply(answer) if ok else varlink.encode_error(error))

        pending.cancel = self._service.reload(call.flag("wait_drained"), done)

    def _status_reply(self) -> bytes:
        return varlink.encode_reply({"status": self._service.status()}, continues=True)

    def _push(self) -> None:
        self._stale = False
        reply = self._status_reply()
        for pending in tuple(self._subscriptions):
            pending.connection.send(reply)
        if self._subscriptions:
            self._schedule(time.monotonic() + _PUSH_SECONDS)

    def _schedule(self, when: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.at(when, self._push)

    def _unsubscribe(self, pending: _Pending) -> None:
        self._subscriptions.discard(pending)
        if not self._subscriptions and self._timer:
            self._timer.cancel()
            self._timer = None
            self._stale = False


class _Pending:
    """A call that has not had its last reply. `cancel` is called when the client leaves before."""

    __slots__ = ("cancel", "connection")

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection
        self.cancel: Callable[[], None] | None = None

    def finish(self, reply: bytes) -> None:
        """Send the last reply, unless there is nobody to get it: oneway, left, or answered."""
        if self.connection.pending is self:
            self.connection.pending = None
            self.connection.send(reply)


class _Connection:
    """One client: bytes in, calls to the server, replies out."""

    def __init__(self, loop: Loop, sock: socket.socket, server: Server) -> None:
        self.fd = sock.fileno()
        self.since = time.monotonic()
        self.pending: _Pending | None = None
        self._loop = loop
        self._sock = sock
        self._server = server
        self._receiver = varlink.Receiver()
        self._outbox = bytearray()
        self._ended = False  # nothing more will be read
        self._open = True
        self._mask = READ
        loop.watch(self.fd, READ, self._on_ready)

    def send(self, message: bytes) -> None:
        """Queue a reply and send what the kernel takes now."""
        if len(self._outbox) > _OUTBOX_LIMIT:
            self.drop()
            return
        self._outbox += message
        self.flush()

    def flush(self) -> None:
        try:
            while self._open and self._outbox:
                del self._outbox[: self._sock.send(self._outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self.drop()
        self._settle()

    def drop(self) -> None:
        """Close, and cancel the call that is under way."""
        if not self._open:
            return
        self._open = False
        self._server.forget(self)
        self._loop.unwatch(self.fd)
        self._sock.close()
        pending, self.pending = self.pending, None
        if pending and pending.cancel:
            pending.cancel()

    def _on_ready(self, mask: int) -> None:
        if mask & READ:
            self._receive()
        if mask & WRITE:
            self.flush()
        if self._idle() and self._receiver.ready():
            self._take()
        self._settle()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.drop()
            return
        self._receiver.feed(data)
        self._ended = not data
        if self.pending and (not data or self._receiver.buffered > varlink.LIMIT):
            self.drop()

    def _take(self) -> None:
        try:
            message = self._receiver.take()
            call = varlink.parse_call(message or {})
        except Malformed as failure:
            self._ended = True
            self._receiver = varlink.Receiver()
            self.send(varlink.encode_error(failure))
        else:
            self._server.handle(self, call)

    def _idle(self) -> bool:
        return self._open and self.pending is None and not self._outbox

    def _settle(self) -> None:
        """Watch for what can go on, or close when nothing can any more."""
        if not self._open:
            return
        ready = self._receiver.ready()
        if self._ended and self._idle() and not ready:
            self.drop()
            return
        mask = READ if not self._ended and (self.pending or not ready) else 0
        if self._outbox or (ready and not self.pending):
            mask |= WRITE
        if mask != self._mask:
            self._mask = mask
            self._loop.modify(self.fd, mask)


def _describe(interface: str) -> str:
    path = os.path.join(os.path.dirname(__file__), f"{interface}.varlink")
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        # The package was removed or replaced under the running supervisor.
        raise Refused(varlink.INTERFACE_NOT_FOUND, {"interface": interface}) from None
