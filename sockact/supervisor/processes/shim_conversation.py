"""One connection from a shim, and the words in it: docs/shim.md."""

from __future__ import annotations

import array
import errno
import os
import socket
import stat
import time

from sockact.core.matching import Address, Family, Kind
from sockact.kernel.sockets import sockopt
from sockact.kernel.sockets.listener import Listener
from sockact.supervisor.base.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.core.matching import Denied, Traits
    from sockact.supervisor.base.loop import Loop, Timer

    # (wanted, traits of the socket) → listener, why the bind() fails, or None to leave it alone
    Bind = Callable[[Address, Traits | None], Listener | Denied | None]

    class Calls(Protocol):
        """What a conversation needs of ShimCalls."""

        def answered(self, pid: int) -> None:
            """Stop signalling a process, which has connected."""

        def next_order(self, pid: int) -> str | None:
            """Return the words of the next order to the process, if any."""

        def finished(self, pid: int, error: str, answer: list[str]) -> None:
            """Take note of the answer to the first order of the process."""

        def failed(self, pid: int, error: str) -> None:
            """Take note of a conversation that ended before its order was carried out."""

        def ended(self, conversation: Conversation) -> None:
            """Forget a conversation."""


_PACKET = 4096
_PATIENCE = 5.0
"""Seconds until a silent conversation ends."""


class Conversation:
    """A connection from a process."""

    def __init__(
        self, calls: Calls, loop: Loop, connection: socket.socket, pid: int, bind: Bind
    ) -> None:
        self.pid = pid
        self._calls = calls
        self._loop = loop
        self._socket = connection
        self._bind = bind
        self._ordered = False
        loop.watch(connection.fileno(), READ, self._readable)
        self._timer: Timer = loop.at(time.monotonic() + _PATIENCE, self._timed_out)

    def end(self) -> None:
        """Close the connection."""
        self._timer.cancel()
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        self._calls.ended(self)

    def _timed_out(self) -> None:
        self.end()
        self._calls.failed(self.pid, f"no answer within {_PATIENCE:g} s")

    def _hung_up(self) -> None:
        self.end()
        self._calls.failed(self.pid, "the shim closed the connection")

    def _readable(self, _mask: int) -> None:
        try:
            data, fds, _flags, _address = socket.recv_fds(self._socket, _PACKET, 1)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        try:
            self._hear(data.decode("ascii", "replace").split(" "), fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _hear(self, words: list[str], fds: list[int]) -> None:
        if words[0] == "hello":
            self._calls.answered(self.pid)
            self._next()
        elif words[0] in ("done", "error") and self._ordered:
            self._ordered = False
            error = " ".join(words[1:]) if words[0] == "error" else ""
            self._calls.finished(self.pid, error, words[1:])
            self._next()
        elif words[0] == "bind":
            self._answer_bind(words[2:], fds)
        elif self._ordered:
            self._hung_up()
        else:
            self.end()

    def _next(self) -> None:
        order = self._calls.next_order(self.pid)
        self._ordered = order is not None
        sent = self._send(order or "end")
        if order is None:
            self.end()
        elif not sent:
            self._hung_up()

    def _answer_bind(self, words: list[str], fds: list[int]) -> None:
        try:
            found = self._bind(_wanted(words), _traits(fds))
        except (ValueError, IndexError):
            self._send(f"refuse {errno.EINVAL} malformed request")
            self.end()
            return
        if found is None:
            self._send("pass")
        elif isinstance(found, Listener):
            _carry_options(fds, found)
            self._send("adopt", found.socket.fileno())
        else:
            self._send(f"refuse {found.error} {found.message or os.strerror(found.error)}")
        self.end()

    def _send(self, words: str, fd: int | None = None) -> bool:
        ancillary = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _fds(fd))]
        try:
            self._socket.sendmsg([words.encode("ascii", "replace")[:_PACKET]], ancillary)
        except OSError:
            return False  # The process is gone, which the next receive shows.
        return True


def _traits(fds: list[int]) -> Traits | None:
    """Return the traits of the socket that is to be bound; None if the shim only asks."""
    for fd in fds:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            with socket.socket(fileno=os.dup(fd)) as own:
                return sockopt.traits(own)
    return None


def _carry_options(fds: list[int], found: Listener) -> None:
    """Copy the options of the program's own socket, which it has sent along, to the listener."""
    for fd in fds:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            with socket.socket(fileno=os.dup(fd)) as own:
                sockopt.carry(own, found.socket)


def _fds(fd: int) -> bytes:
    return array.array("i", [fd]).tobytes()


def _wanted(words: list[str]) -> Address:
    """Parse `FAMILY TYPE ADDRESS [PORT]`. Raises ValueError or IndexError."""
    family, kind, host = Family(words[0]), Kind(words[1]), words[2]
    if family is not Family.UNIX:
        return Address(family, kind, host, int(words[3]))
    raw = bytes.fromhex(host)
    if raw[:1] == b"\0":
        return Address(family, kind, "@" + os.fsdecode(raw[1:]))
    # Like the kernel, read a path up to its first NUL.
    return Address(family, kind, os.fsdecode(raw.split(b"\0")[0]))
