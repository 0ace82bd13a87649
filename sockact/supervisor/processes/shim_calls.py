"""The supervisor's side of the conversation with the shim: docs/shim.md.

Each packet is a line of words. A process of the service may ask which listener a bind() belongs to;
a process that was called by a signal connects to fetch its orders.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections import deque
from functools import partial

from sockact.kernel import pidfd, procfs
from sockact.kernel.sockets import received
from sockact.supervisor.base.loop import READ
from sockact.supervisor.processes.shim_conversation import Conversation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.matching import Address, Denied
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer

    # (pid) → generation or None
    Membership = Callable[[int], int | None]
    # (generation, wanted, pid, its socket) → listener, why the bind() fails, or None to leave it
    # alone
    Bind = Callable[[int, Address, int, socket.socket | None], Listener | Denied | None]
    # (error text, or "" when done)
    Done = Callable[[str], None]
    # (the words of the answer after `done`)
    Heard = Callable[[list[str]], None]

CALL_SIGNAL = 50
_MOST_CONNECTIONS = 64
_RING_EVERY = 0.1
_RINGS = 25
_INSIST_EVERY = 1.0
_CREDENTIALS = struct.Struct("=iII")


class Order:
    """An order to a process, and the callbacks for its answer."""

    def __init__(self, words: str, done: Done, insist: bool, heard: Heard | None) -> None:
        self.words = words
        self.done = done
        self.insist = insist
        self.heard = heard


class ShimCalls:
    """Serves the shims on an abstract socket; `address` is its name without the leading NUL."""

    def __init__(
        self,
        loop: Loop,
        address: str,
        membership: Membership,
        bind: Bind,
        listening: int | None = None,
    ) -> None:
        """`listening` is the descriptor of the socket, if an upgrade carried it over."""
        self.address = address
        self._loop = loop
        self._membership = membership
        self._bind = bind
        self._orders: dict[int, deque[Order]] = {}
        self._ringing: dict[int, Timer] = {}
        self._open: set[Conversation] = set()
        self._closed = False
        self._socket = _listen(address) if listening is None else socket.socket(fileno=listening)
        self._socket.setblocking(False)
        self._watch()

    def _watch(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno(), READ, self._accept)

    def fileno(self) -> int:
        """Return the descriptor of the socket that the shims connect to."""
        return self._socket.fileno()

    def busy(self) -> bool:
        """Whether there is an open order or conversation."""
        return bool(self._orders or self._open)

    def reaches(self, pid: int) -> bool:
        """Whether this process has the shim."""
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
        """Call the process and give it an order; `done` is called once.

        If the order succeeds, `heard` is called first, with the words of the answer.

        A process in a long C call answers only after it. With `insist`, the order waits for that
        as long as the process lives; other orders time out.
        """
        queue = self._orders.setdefault(pid, deque())
        queue.append(Order(words, done, insist, heard))
        if pid not in self._ringing and not self._talks(pid):
            self._ring(pid, 0)

    def _ring(self, pid: int, times: int) -> None:
        """Signal the process again and again until it connects.

        CPython handles a signal that arrives just before a blocking call only after that call, and
        loses one that arrives during a fork.
        """
        self._ringing.pop(pid, None)
        if times >= _RINGS:
            self._give_up(pid, f"no answer to {_RINGS} signals")
        if pid not in self._orders:
            return
        try:
            there = self.reaches(pid) and pidfd.send_signal(pid, CALL_SIGNAL)
        except OSError as error:
            # Refused for good; or no descriptors left, which passes like a lost signal.
            there = error.errno != errno.EPERM
        if not there:
            self.forget(pid, "the process has ended or executed another program")
            return
        pause = _RING_EVERY if times < _RINGS else _INSIST_EVERY
        when = time.monotonic() + pause
        self._ringing[pid] = self._loop.at(when, partial(self._ring, pid, times + 1))

    def answered(self, pid: int) -> None:
        """Stop signalling a process, which has connected."""
        if timer := self._ringing.pop(pid, None):
            timer.cancel()

    def forget(self, pid: int, error: str) -> None:
        """Drop the orders of a process that has ended."""
        self.answered(pid)
        for order in self._orders.pop(pid, ()):
            order.done(error)

    def failed(self, pid: int, error: str) -> None:
        """Take note of a conversation that ended before its order was carried out."""
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
        """Return the words of the next order to the process, if any."""
        queue = self._orders.get(pid)
        return queue[0].words if queue else None

    def finished(self, pid: int, error: str, answer: list[str]) -> None:
        """Take note of the answer to the first order of the process: an error, or its words."""
        queue = self._orders.get(pid)
        if queue:
            order = queue.popleft()
            if not queue:
                del self._orders[pid]
            if order.heard and not error:
                order.heard(answer)
            order.done(error)

    def close(self) -> None:
        """End all conversations and close the socket."""
        self._closed = True
        for pid in tuple(self._ringing):
            self.answered(pid)
        for conversation in tuple(self._open):
            conversation.end()
        if self._loop.watched(self._socket.fileno()):
            self._loop.unwatch(self._socket.fileno())
        received.close_listening(self._socket)

    def _accept(self, _mask: int) -> None:
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # No descriptors left: the waiting connection would keep the loop spinning.
            self._loop.unwatch(self._socket.fileno())
            self._loop.at(time.monotonic() + _RING_EVERY, self._watch)
            return
        connection.setblocking(False)
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid = _CREDENTIALS.unpack(raw)[0]
        try:
            generation = self._membership(pid)
        except OSError:
            generation = None  # /proc is unavailable: the process asks, or is called, again.
        if generation is None or len(self._open) >= _MOST_CONNECTIONS:
            received.close_queue(connection)
            return
        bind = partial(self._bind, generation)
        self._open.add(Conversation(self, self._loop, connection, pid, bind))

    def ended(self, conversation: Conversation) -> None:
        """Forget a conversation; call the process again if it has got new orders meanwhile."""
        self._open.discard(conversation)
        pid = conversation.pid
        if pid in self._orders and pid not in self._ringing and not self._closed:
            self._ring(pid, 0)


def _listen(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(b"\0" + address.encode())
    listening.listen(_MOST_CONNECTIONS)
    return listening
