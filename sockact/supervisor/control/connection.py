"""One client of the control socket: bytes in, calls to the server, replies out.

Never blocks. Whatever a client sends, or does not read, no callback of the loop raises. At most one
call is in progress (`pending`). The next one is taken from the input when the reply has been sent,
one per turn of the loop, so that no client can keep the supervisor busy.
"""

from __future__ import annotations

import time

from sockact.supervisor.base.loop import READ, WRITE
from sockact.supervisor.control import varlink
from sockact.supervisor.control.varlink import Malformed
from sockact.supervisor.records.carried_state import CarriedConnection

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Protocol

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.control.varlink import Call

    class Server(Protocol):
        """Takes the calls."""

        def handle(self, connection: Connection, call: Call) -> None:
            """Answer the call now, or leave it pending."""

        def forget(self, connection: Connection) -> None:
            """Forget a connection that is being dropped; its fd is still open."""


_OUTBOX_LIMIT = 256 * 1024
"""Bytes that a client may leave unread, beyond the kernel's buffer, when it gets a reply."""
_READ_SIZE = 64 * 1024


class PendingCall:
    """A call of the method `member` whose last reply has not been sent."""

    __slots__ = ("_cancel", "connection", "member")

    def __init__(self, connection: Connection, member: str) -> None:
        self.connection = connection
        self.member = member
        self._cancel: Callable[[], None] | None = None

    def on_leave(self, cancel: Callable[[], None]) -> None:
        """Call `cancel` if the client leaves before the last reply."""
        self._cancel = cancel

    def cancel(self) -> None:
        """Cancel the call: the client has left."""
        if self._cancel:
            self._cancel()

    def finish(self, reply: bytes) -> None:
        """Send the last reply, unless the call is oneway or answered, or the client has left."""
        if self.connection.pending is self:
            self.connection.forget_call()
            self.connection.send(reply)


class Connection:
    """One client."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        server: Server,
        carried: CarriedConnection | None = None,
    ) -> None:
        self.fd = sock.fileno()
        self.since = time.monotonic()
        self.pending: PendingCall | None = None
        self._loop = loop
        self._sock = sock
        self._server = server
        self._receiver = varlink.Receiver()
        self._outbox = bytearray()
        self._ended = False  # Nothing more will be read.
        self._open = True
        self._mask = READ
        loop.watch(self.fd, READ, self._on_ready)
        if carried is not None:
            self._receiver.feed(carried.received.encode("latin-1"))
            self._outbox += carried.unsent.encode("latin-1")
            self._ended = carried.ended
            self._settle()

    def carried(self) -> CarriedConnection:
        """Return the state for the version that takes over."""
        return CarriedConnection(
            self.fd,
            self.pending.member if self.pending else "",
            self._receiver.held.decode("latin-1"),
            self._outbox.decode("latin-1"),
            self._ended,
        )

    def begin(self, pending: PendingCall) -> None:
        """Take no other call until this one is finished."""
        self.pending = pending

    def forget_call(self) -> None:
        """Forget the current call: it is answered, or nobody waits for the answer."""
        self.pending = None

    def send(self, message: bytes) -> None:
        """Queue a reply and send what the kernel takes now."""
        if len(self._outbox) > _OUTBOX_LIMIT:
            self.drop()
            return
        self._outbox += message
        self.flush()

    def flush(self) -> None:
        """Send as much of the queued replies as the kernel takes now."""
        try:
            while self._open and self._outbox:
                del self._outbox[: self._sock.send(self._outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self.drop()
        self._settle()

    def drop(self) -> None:
        """Close the connection, and cancel the current call."""
        if not self._open:
            return
        self._open = False
        self._server.forget(self)
        self._loop.unwatch(self.fd)
        self._sock.close()
        pending, self.pending = self.pending, None
        if pending:
            pending.cancel()

    def _on_ready(self, mask: int) -> None:
        if mask & READ:
            self._receive()
        if mask & WRITE:
            self.flush()
        if self._is_idle() and self._receiver.ready():
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

    def _is_idle(self) -> bool:
        return self._open and self.pending is None and not self._outbox

    def _settle(self) -> None:
        """Watch for the events that matter now; close the connection if there are none."""
        if not self._open:
            return
        ready = self._receiver.ready()
        if self._ended and self._is_idle() and not ready:
            self.drop()
            return
        mask = READ if not self._ended and (self.pending or not ready) else 0
        if self._outbox or (ready and not self.pending):
            mask |= WRITE
        if mask != self._mask:
            self._mask = mask
            self._loop.modify(self.fd, mask)
