"""The supervisor's end of the conversation with the shim: docs/shim.md.

Each packet is a line of words. A process of ours may ask where a bind belongs; and a process that
we called by signal comes to fetch its orders.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import stat
import struct
import time
from collections import deque
from functools import partial

from sockact.core.matching import Address, Family, Kind
from sockact.kernel import pidfd, procfs
from sockact.kernel.sockets import sockopt
from sockact.supervisor.base.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer

    # (generation of this process or None)
    Membership = Callable[[int], int | None]
    # (generation, wanted) → listener, refusal or None
    Bind = Callable[[int, Address], Listener | str | None]
    # (error text, or "" when done)
    Done = Callable[[str], None]
    # (the words of the answer after `done`)
    Heard = Callable[[list[str]], None]

CALL_SIGNAL = 50
_PACKET = 4096
_MOST_CONNECTIONS = 64
_PATIENCE = 5.0
_RING_EVERY = 0.1
_RINGS = 25
_INSIST_EVERY = 1.0
_CREDENTIALS = struct.Struct("=iII")


class Order:
    """What a process is to do, and whom to tell."""

    def __init__(self, words: str, done: Done, insist: bool, heard: Heard | None) -> None:
        self.words = words
        self.done = done
        self.insist = insist
        self.heard = heard


class ShimCalls:
    """Listens on an abstract socket; `address` is its name without the leading NUL."""

    def __init__(
        self,
        loop: Loop,
        address: str,
        membership: Membership,
        bind: Bind,
        listening: int | None = None,
    ) -> None:
        """`listening` is the socket, where there is one already."""
        self.address = address
        self._loop = loop
        self._membership = membership
        self._bind = bind
        self._orders: dict[int, deque[Order]] = {}
        self._ringing: dict[int, Timer] = {}
        self._open: set[_Conversation] = set()
        self._closed = False
        self._socket = _listen(address) if listening is None else socket.socket(fileno=listening)
        self._socket.setblocking(False)
        self._watch()

    def _watch(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno(), READ, self._accept)

    def fileno(self) -> int:
        """The socket that the shims connect to."""
        return self._socket.fileno()

    def busy(self) -> bool:
        """Is there an order that has not been carried out, or a conversation?"""
        return bool(self._orders or self._open)

    def reaches(self, pid: int) -> bool:
        """Does this process have the shim?"""
        return procfs.catches(pid, CALL_SIGNAL)

    def order(
        self,
        pid: int,
        words: str,
        done: Done,
        *,
        insist: bool = False,
        heard: Heard | None = None,
    ) -> None:
        """Call the process and have it carry out an order; `done` is called once.

        `heard` is called before it with the words of the answer, when there is one and no error.

        A process in a long call into C answers after it. `insist` waits for that as long as the
        process lives; other orders are given up.
        """
        queue = self._orders.setdefault(pid, deque())
        queue.append(Order(words, done, insist, heard))
        if pid not in self._ringing and not self._talks(pid):
            self._ring(pid, 0)

    def _ring(self, pid: int, times: int) -> None:
        """Signal the process until it comes.

        CPython sleeps through a signal that arrives just before a blocking call, and drops one
        that arrives during a fork.
        """
        self._ringing.pop(pid, None)
        if times >= _RINGS:
            self._give_up(pid, f"no answer to {_RINGS} signals")
        if pid not in self._orders:
            return
        try:
            there = self.reaches(pid) and pidfd.send_signal(pid, CALL_SIGNAL)
        except OSError as error:
            # Refused, or we are out of descriptors: as good as a signal that was slept through.
            there = error.errno != errno.EPERM
        if not there:
            self.forget(pid, "the process has ended, or become another program")
            return
        pause = _RING_EVERY if times < _RINGS else _INSIST_EVERY
        when = time.monotonic() + pause
        self._ringing[pid] = self._loop.at(when, partial(self._ring, pid, times + 1))

    def answered(self, pid: int) -> None:
        """The process has come: stop signalling."""
        if timer := self._ringing.pop(pid, None):
            timer.cancel()

    def forget(self, pid: int, error: str) -> None:
        """The process has ended: it will not answer any more."""
        self.answered(pid)
        for order in self._orders.pop(pid, ()):
            order.done(error)

    def left(self, pid: int, error: str) -> None:
        """A conversation has ended with orders still to be carried out."""
        self._give_up(pid, error)
        if pid in self._orders and pid not in self._ringing:
            self._ring(pid, _RINGS)

    def _give_up(self, pid: int, error: str) -> None:
        orders = self._orders.pop(pid, deque())
        if insisting := deque(order for order in orders if order.insist):
            self._orders[pid] = insisting
        for order in orders:
            if not order.insist:
                order.done(error)

    def _talks(self, pid: int) -> bool:
        return any(conversation.pid == pid for conversation in self._open)

    def next_order(self, pid: int) -> str | None:
        queue = self._orders.get(pid)
        return queue[0].words if queue else None

    def finished(self, pid: int, error: str, answer: list[str]) -> None:
        """The process has carried out, or failed, its first order."""
        queue = self._orders.get(pid)
        if queue:
            order = queue.popleft()
            if not queue:
                del self._orders[pid]
            if order.heard and not error:
                order.heard(answer)
            order.done(error)

    def close(self) -> None:
        self._closed = True
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
        try:
            generation = self._membership(pid)
        except OSError:
            generation = None  # We cannot look now: it asks, or is called, again.
        if generation is None or len(self._open) >= _MOST_CONNECTIONS:
            connection.close()
            return
        self._open.add(_Conversation(self, self._loop, connection, pid, generation))

    def where(self, generation: int, wanted: Address) -> Listener | str | None:
        return self._bind(generation, wanted)

    def over(self, conversation: _Conversation) -> None:
        """A conversation has ended; what was ordered after its last words is still due."""
        self._open.discard(conversation)
        pid = conversation.pid
        if pid in self._orders and pid not in self._ringing and not self._closed:
            self._ring(pid, 0)


class _Conversation:
    """One connection of one process."""

    def __init__(
        self, calls: ShimCalls, loop: Loop, connection: socket.socket, pid: int, generation: int
    ) -> None:
        self.pid = pid
        self._calls = calls
        self._loop = loop
        self._socket = connection
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
        self.end()
        self._calls.left(self.pid, f"no answer within {_PATIENCE:g} s")

    def _hung_up(self) -> None:
        self.end()
        self._calls.left(self.pid, "the shim hung up")

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
            self._bind(words[2:], fds)
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

    def _bind(self, words: list[str], fds: list[int]) -> None:
        try:
            found = self._calls.where(self._generation, _wanted(words))
        except (ValueError, IndexError):
            self._send(f"refuse {errno.EINVAL} malformed request")
            self.end()
            return
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


def _listen(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(b"\0" + address.encode())
    listening.listen(_MOST_CONNECTIONS)
    return listening


def _carry_options(fds: list[int], found: Listener) -> None:
    """Of the program's own socket, which came with its question."""
    for fd in fds:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            with socket.socket(fileno=os.dup(fd)) as own:
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
    # The kernel, too, reads a path up to its first NUL.
    return Address(family, kind, os.fsdecode(raw.split(b"\0")[0]))
