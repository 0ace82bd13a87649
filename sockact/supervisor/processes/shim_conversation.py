"""One connection from a shim, and the words in it: docs/shim.md."""

from __future__ import annotations

import array
import errno
import os
import socket
import time

from sockact.core.matching import Address, Family, Kind
from sockact.core.numbers import whole
from sockact.kernel import looks
from sockact.kernel.sockets import received
from sockact.kernel.sockets.listener import Listener
from sockact.supervisor.base.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.core.matching import Denied
    from sockact.supervisor.base.loop import Loop, Timer

    # (wanted, pid, our socket in whose queue its own is) → listener, why the bind() fails, or None
    # to leave it alone
    Bind = Callable[[Address, int, int | None], Listener | Denied | None]
    # (wanted, pid) → whether to refuse its connection, or None if it need not ask any more
    Look = Callable[[Address, int], bool | None]

    class Attached(Protocol):
        """What goes with an order."""

        def fileno(self) -> int | None:
            """Return the descriptor for the process; None if it is closed."""

    class Order(Protocol):
        """An order to a process."""

        words: str
        attached: Attached | None

    class Calls(Protocol):
        """What a conversation needs of ShimCalls."""

        def answered(self, pid: int) -> None:
            """Stop signalling a process, which has connected."""

        def note_nudge(self, pid: int, generation: int, own: bool) -> None:
            """Take note of whether the handler of the nudge is the shim's."""

        def next_order(self, pid: int) -> Order | None:
            """Return the next order to the process, if any."""

        def finished(self, pid: int, error: str, answer: list[str]) -> None:
            """Take note of the answer to the first order of the process."""

        def failed(self, pid: int, error: str) -> None:
            """Take note of a conversation that ended before its order was carried out."""

        def ended(self, conversation: Conversation) -> None:
            """Forget a conversation."""


_PACKET = 4096
_LAST_PORT = 65535
_PATIENCE = 5.0
"""Seconds until a conversation ends whose shim is silent, or does not finish an order."""


class Conversation:
    """A connection from a process."""

    def __init__(
        self,
        calls: Calls,
        loop: Loop,
        connection: socket.socket,
        pid: int,
        generation: int,
        bind: Bind,
        look: Look,
    ) -> None:
        self.pid = pid
        self.generation = generation
        self._ordered = False
        self._calls = calls
        self._loop = loop
        self._socket = connection
        self._bind = bind
        self._look = look
        loop.watch(connection.fileno(), READ, self._readable)
        self._timer: Timer = self._start_timer()

    def _start_timer(self) -> Timer:
        return self._loop.at(time.monotonic() + _PATIENCE, self._timed_out)

    def end(self) -> None:
        """Close the connection."""
        self._timer.cancel()
        self._loop.unwatch(self._socket.fileno())
        received.close_queue(self._socket)
        self._calls.ended(self)

    def _timed_out(self) -> None:
        self.end()
        self._calls.failed(self.pid, f"no answer within {_PATIENCE:g} s")

    def hang_up(self) -> None:
        """End the conversation, as if the shim had closed the connection."""
        self.end()
        self._calls.failed(self.pid, "the shim closed the connection")

    def _readable(self, _mask: int) -> None:
        try:
            data, attached = received.peek(self._socket, _PACKET)
            words = data.decode("ascii", "replace").split(" ")
            if words[0] == "bind":
                # The program's own socket stays in the queue.
                self._answer_bind(words[2:], self._socket.fileno() if attached else None)
                return
            received.take(self._socket, _PACKET)
        except BlockingIOError:
            return
        except OSError:
            words = [""]
        self._hear(words)

    def _hear(self, words: list[str]) -> None:
        if words[0] == "hello" and not self._ordered:
            self._calls.answered(self.pid)
            self._calls.note_nudge(self.pid, self.generation, "nudge" in words[3:])
            self._next()
        elif words[0] in ("done", "error") and self._ordered:
            self._ordered = False
            error = " ".join(words[1:]) if words[0] == "error" else ""
            self._calls.finished(self.pid, error, words[1:])
            self._next()
        elif words[0] == "look":
            self._answer_look(words[2:])
        elif self._ordered:
            self.hang_up()
        else:
            self.end()

    def _next(self) -> None:
        self._timer.cancel()
        self._timer = self._start_timer()
        order = self._calls.next_order(self.pid)
        self._ordered = order is not None
        if order is None:
            self._send("end")
            self.end()
        elif not self._send(order.words, order.attached.fileno() if order.attached else None):
            self.hang_up()

    def _answer_bind(self, words: list[str], queue: int | None) -> None:
        try:
            self._answer(self._bind(_wanted(words), self.pid, queue))
        except (ValueError, IndexError):
            self._send(f"refuse {errno.EINVAL} malformed request")
        except OSError as error:
            if looks.is_for_want(error):
                self._send(f"refuse {error.errno} {error.strerror}")
            else:
                self._send("pass")  # The process, or /proc, is gone, or keeps us from looking.
        self.end()

    def _answer_look(self, words: list[str]) -> None:
        try:
            free = self._look(_wanted(words), self.pid)
        except (ValueError, IndexError, OSError):
            free = False  # Malformed, or the process is gone.
        self._send("over" if free is None else "free" if free else "pass")
        self.end()

    def _answer(self, found: Listener | Denied | None) -> None:
        if found is None:
            self._send("pass")
        elif isinstance(found, Listener):
            self._send("adopt", found.socket.fileno())
        else:
            self._send(f"refuse {found.error} {found.message or os.strerror(found.error)}")

    def _send(self, words: str, fd: int | None = None) -> bool:
        ancillary = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _fds(fd))]
        try:
            self._socket.sendmsg([words.encode("ascii", "replace")[:_PACKET]], ancillary)
        except OSError:
            return False  # The process is gone, which the next receive shows.
        return True


def _fds(fd: int) -> bytes:
    return array.array("i", [fd]).tobytes()


def _wanted(words: list[str]) -> Address:
    """Parse `FAMILY TYPE ADDRESS [PORT]`. Raises ValueError or IndexError."""
    family, kind, host = Family(words[0]), Kind(words[1]), words[2]
    if family is not Family.UNIX:
        port = whole(words[3], _LAST_PORT)
        if port is None:
            raise ValueError("not a port")
        return Address(family, kind, host, port)
    raw = bytes.fromhex(host)
    if raw[:1] == b"\0":
        return Address(family, kind, "@" + os.fsdecode(raw[1:]))
    # Like the kernel, read a path up to its first NUL.
    return Address(family, kind, os.fsdecode(raw.split(b"\0")[0]))
