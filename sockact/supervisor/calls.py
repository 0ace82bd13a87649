"""The supervisor's end of the conversation with the shim: docs/shim.md.

Each packet is a line of words. A process of ours may ask where a bind belongs; and a process that
we called by signal comes to fetch its orders.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
import time
from collections import deque
from functools import partial

from sockact.core.matching import Address, Family, Kind
from sockact.kernel import pidfd, procfs, sockopt
from sockact.supervisor.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.kernel.listener import Listener
    from sockact.supervisor.loop import Loop, Timer

    # (generation of this process or None)
    Membership = Callable[[int], int | None]
    # (generation, wanted) → listener, refusal or None
    Bind = Callable[[int, Address], Listener | str | None]
    # (error text, or "" when done)
    Done = Callable[[str], None]

CALL_SIGNAL = 50
_PACKET = 4096
_MOST_CONNECTIONS = 64
_PATIENCE = 5.0
_RING_EVERY = 0.1
_RINGS = 25
_CREDENTIALS = struct.Struct("=iII")


class Calls:
    """Listens on an abstract socket; `address` is its name without the leading NUL."""

    def __init__(self, loop: Loop, address: str, membership: Membership, bind: Bind) -> None:
        self.address = address
        self._loop = loop
        self._membership = membership
        self._bind = bind
        self._orders: dict[int, deque[tuple[str, Done]]] = {}
        self._ringing: dict[int, Timer] = {}
        self._open: set[_Conversation] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(b"\0" + address.encode())
        self._socket.listen(_MOST_CONNECTIONS)
        self._socket.setblocking(False)
        self._watch()

    def _watch(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno(), READ, self._accept)

    def reaches(self, pid: int) -> bool:
        """Does this process have the shim?"""
        return procfs.catches(pid, CALL_SIGNAL)

    def order(self, pid: int, words: str, done: Done) -> None:
        """Call the process and have it carry out an order; `done` is called once."""
        queue = self._orders.setdefault(pid, deque())
        queue.append((words, done))
        if len(queue) == 1:
            self._ring(pid, _RINGS)

    def _ring(self, pid: int, times: int) -> None:
        """Signal the process until it comes.

        CPython sleeps through a signal that arrives just before a blocking call, and drops one
        that arrives during a fork.
        """
        if not times:
            self.forget(pid, f"no answer to {_RINGS} signals")
        elif not self.reaches(pid) or not pidfd.send_signal(pid, CALL_SIGNAL):
            self.forget(pid, "the process has ended, or become another program")
        else:
            when = time.monotonic() + _RING_EVERY
            self._ringing[pid] = self._loop.at(when, partial(self._ring, pid, times - 1))

    def answered(self, pid: int) -> None:
        """The process has come: stop signalling."""
        if timer := self._ringing.pop(pid, None):
            timer.cancel()

    def forget(self, pid: int, error: str) -> None:
        """The process will not answer any more."""
        self.answered(pid)
        for _, done in self._orders.pop(pid, ()):
            done(error)

    def next_order(self, pid: int) -> str | None:
        queue = self._orders.get(pid)
        return queue[0][0] if queue else None

    def finished(self, pid: int, error: str) -> None:
        """The process has carried out, or failed, its first order."""
        queue = self._orders.get(pid)
        if queue:
            _, done = queue.popleft()
            if not queue:
                del self._orders[pid]
            done(error)

    def close(self) -> None:
        for pid in tuple(self._ringing):
            self.answered(pid)
        for conversation in tuple(self._open):
            conversation.end()
        if self._loop.watched(self._socket.fileno()):
            self._loop.unwatch(self._socket.fileno())
        self._socket.close()

    def _accept(self, _mask: int) -> None:
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # Out of descriptors: whoever waits would keep the loop spinning.
            self._loop.unwatch(self._socket.fileno())
            self._loop.at(time.monotonic() + _RING_EVERY, self._watch)
            return
        connection.setblocking(False)
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid = _CREDENTIALS.unpack(raw)[0]
        generation = self._membership(pid)
        if generation is None or len(self._open) >= _MOST_CONNECTIONS:
            connection.close()
            return
        self._open.add(_Conversation(self, self._loop, connection, pid, generation))

    def where(self, generation: int, wanted: Address) -> Listener | str | None:
        return self._bind(generation, wanted)

    def over(self, conversation: _Conversation) -> None:
        self._open.discard(conversation)


class _Conversation:
    """One connection of one process."""

    def __init__(
        self, calls: Calls, loop: Loop, connection: socket.socket, pid: int, generation: int
    ) -> None:
        self._calls = calls
        self._loop = loop
        self._socket = connection
        self._pid = pid
        self._generation = generation
        self._ordered = False
        loop.watch(connection.fileno(), READ, self._readable)
        self._timer: Timer = loop.at(time.monotonic() + _PATIENCE, self._timed_out)

    def end(self) -> None:
        self._timer.cancel()
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        self._calls.over(self)

    def _timed_out(self) -> None:
        self._calls.forget(self._pid, f"no answer within {_PATIENCE:g} s")
        self.end()

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
            self._calls.answered(self._pid)
            self._next()
        elif words[0] in ("done", "error") and self._ordered:
            self._ordered = False
            self._calls.finished(self._pid, " ".join(words[1:]) if words[0] == "error" else "")
            self._next()
        elif words[0] == "bind":
            self._bind(words[2:], fds)
        else:
            if self._ordered:
                self._calls.forget(self._pid, "the shim hung up")
            self.end()

    def _next(self) -> None:
        order = self._calls.next_order(self._pid)
        self._ordered = order is not None
        sent = self._send(order or "end")
        if order is not None and not sent:
            self._calls.forget(self._pid, "the shim hung up")
        if order is None or not sent:
            self.end()

    def _bind(self, words: list[str], fds: list[int]) -> None:
        try:
            wanted = _wanted(words)
        except (ValueError, IndexError):
            self._send(f"refuse {errno.EINVAL} malformed request")
            self.end()
            return
        found = self._calls.where(self._generation, wanted)
        if found is None:
            self._send("pass")
        elif isinstance(found, str):
            self._send(f"refuse {errno.EADDRNOTAVAIL} {found}")
        else:
            _carry_options(fds, found)
            self._send("adopt", found.socket.fileno())
        self.end()

    def _send(self, words: str, fd: int | None = None) -> bool:
        ancillary = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _fds(fd))]
        try:
            self._socket.sendmsg([words.encode("ascii", "replace")[:_PACKET]], ancillary)
        except OSError:
            return False  # It has gone, which the next thing that it misses will tell.
        return True


def _carry_options(fds: list[int], found: Listener) -> None:
    """Of the program's own socket, which came with its question."""
    for fd in fds:
        try:
            own = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue  # Whatever was sent, it is no socket.
        with own:
            sockopt.carry(own, found.socket)


def _fds(fd: int) -> bytes:
    return array.array("i", [fd]).tobytes()


def _wanted(words: list[str]) -> Address:
    """`FAMILY TYPE ADDRESS [PORT]` as an Address. Raises ValueError or IndexError."""
    family, kind, host = Family(words[0]), Kind(words[1]), words[2]
    if family is not Family.UNIX:
        return Address(family, kind, host, int(words[3]))
    raw = bytes.fromhex(host)
    if raw[:1] == b"\0":
        return Address(family, kind, "@" + os.fsdecode(raw[1:]))
    return Address(family, kind, os.fsdecode(raw))
