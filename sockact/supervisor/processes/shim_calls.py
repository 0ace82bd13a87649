"""The supervisor's side of the conversation with the shim: docs/shim.md.

Each packet is a line of words. A process of the service may ask which listener a bind() belongs to,
or whether it finds its address free;
a process that was called by a signal connects to fetch its orders.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import Counter, deque
from functools import partial
from operator import attrgetter

from sockact.kernel import pidfd, procfs
from sockact.kernel.sockets import received
from sockact.supervisor.processes.budget import MEMBER, STRANGER
from sockact.supervisor.processes.hidden_sockets import remove
from sockact.supervisor.processes.shim_door import ShimDoor, listen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.matching import Address, Denied
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.processes.hidden_sockets import HiddenSockets
    from sockact.supervisor.processes.shim_conversation import Attached, Conversation
    from sockact.supervisor.records.carried_state import CarriedProgram

    # (pid) → generation or None
    Membership = Callable[[int], int | None]
    # (generation, wanted, pid, our socket in whose queue its own is) → listener, why the bind()
    # fails, or None to leave it alone
    Bind = Callable[[int, Address, int, int | None], Listener | Denied | None]
    # (generation, wanted, pid) → whether to refuse its connection, or None if it need not ask
    Look = Callable[[int, Address, int], bool | None]
    # (error text, or "" when done)
    Done = Callable[[str], None]
    # (the words of the answer after `done`)
    Heard = Callable[[list[str]], None]

CALL_SIGNAL = 50
_NUDGE_SIGNAL = 51
_MOST_NUDGED = 10_000
"""Processes that are remembered to have the shim's handler of the nudge."""
_MOST_CONNECTIONS = 64
_RING_EVERY = 0.1
_RINGS = 25
_INSIST_EVERY = 1.0
_MOST_CALLED = 32
"""Processes that are called at the same time, each for `_FIRST_RINGS`. Each wakes and connects, and
hundreds at once would leave the supervisor no CPU, and the socket no room.
"""
_FIRST_RINGS = 3


class Order:
    """An order to a process, and the callbacks for its answer."""

    def __init__(
        self,
        words: str,
        done: Done,
        insist: bool,
        heard: Heard | None,
        attached: Attached | None,
    ) -> None:
        self.words = words
        self.attached = attached
        self.done = done
        self.insist = insist
        self.heard = heard


class ShimCalls:
    """Serves the shims on a hidden socket file, and on an abstract socket for those in a chroot and
    of earlier versions. `address` is its name without the leading NUL.
    """

    def __init__(
        self,
        loop: Loop,
        address: str,
        membership: Membership,
        bind: Bind,
        look: Look,
        hidden: HiddenSockets | None = None,
        carried: CarriedProgram | None = None,
    ) -> None:
        """`carried` has the sockets, if an upgrade carried them over."""
        self.address = address
        self.path = carried.shim_path if carried else ""
        """The hidden socket file; "" if there is none."""
        self._loop = loop
        self._membership = membership
        self._bind = bind
        self._look = look
        self._orders: dict[int, deque[Order]] = {}
        self._ringing: dict[int, Timer] = {}
        self._uncalled: dict[int, None] = {}
        """Processes with orders that are not called yet, in the order of their orders."""
        self._called: set[int] = set()
        self._calling = False
        self._nudged: dict[int, int] = {}
        """Process whose handler of the nudge is the shim's → generation."""
        self._open: dict[Conversation, None] = {}
        """The oldest first."""
        self._closed = False
        self._abstract = ShimDoor(loop, _abstract(address, carried), self._accepted)
        self._hidden: ShimDoor | None = None
        if carried and carried.shim_socket is not None:
            known = socket.socket(fileno=carried.shim_socket)
            self._hidden = ShimDoor(loop, known, self._accepted)
        elif hidden:
            self._open_hidden(hidden)

    def _open_hidden(self, hidden: HiddenSockets) -> None:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.path = hidden.bind(found)
        if self.path:
            listen(found)
            self._hidden = ShimDoor(self._loop, found, self._accepted)
        else:
            found.close()

    def location(self) -> str:
        """Return what tells a shim whom to expect, and where: `UID:PATH`."""
        return f"{os.geteuid()}:{self.path}"

    def filenos(self) -> tuple[int, int | None]:
        """Return the descriptors of the abstract and of the hidden socket."""
        return self._abstract.fileno(), self._hidden.fileno() if self._hidden else None

    def busy(self) -> bool:
        """Whether there is an open order or conversation."""
        return bool(self._orders or self._open)

    def reaches(self, pid: int) -> bool:
        """Whether this process has the shim."""
        return procfs.catches(pid, CALL_SIGNAL)

    def note_nudge(self, pid: int, generation: int, own: bool) -> None:
        """Take note of whether the handler of the nudge is the shim's, and not the program's."""
        if not own:
            self._nudged.pop(pid, None)
        elif len(self._nudged) < _MOST_NUDGED:
            self._nudged[pid] = generation

    def nudge(self, pid: int, generation: int) -> None:
        """Interrupt the system call that the main thread of a process sleeps in, so that Python
        notices a signal that arrived just before the call. Only if the process is known to have
        the shim's handler. Raises procfs.Unavailable.
        """
        if (
            self._nudged.get(pid) == generation
            # Not while it ends: Python resets its handlers, and then the signal would kill it.
            and procfs.sleeps(pid)
            and procfs.catches(pid, _NUDGE_SIGNAL)
        ):
            pidfd.send_signal(pid, _NUDGE_SIGNAL)

    def forget_generation(self, generation: int) -> None:
        """Forget a generation that is gone."""
        self._nudged = {pid: one for pid, one in self._nudged.items() if one != generation}

    def order(
        self,
        pid: int,
        words: str,
        done: Done,
        *,
        insist: bool = False,
        heard: Heard | None = None,
        attached: Attached | None = None,
    ) -> None:
        """Call the process and give it an order; `done` is called once.

        If the order succeeds, `heard` is called first, with the words of the answer.

        A process in a long C call answers only after it. With `insist`, the order waits for that
        as long as the process lives; other orders time out.
        """
        queue = self._orders.setdefault(pid, deque())
        queue.append(Order(words, done, insist, heard, attached))
        if not self._talks(pid):
            self._call(pid)

    def _call(self, pid: int) -> None:
        """Call a process, at once or when it is its turn."""
        if pid not in self._ringing:
            self._uncalled[pid] = None
            self._call_next()

    def _call_next(self) -> None:
        if self._calling:
            return  # A call has just failed, say; the loop below goes on.
        self._calling = True
        try:
            while self._uncalled and len(self._called) < _MOST_CALLED:
                pid = next(iter(self._uncalled))
                del self._uncalled[pid]
                self._called.add(pid)
                self._ring(pid, 0)
        finally:
            self._calling = False

    def _called_long(self, pid: int) -> None:
        """Let the next process be called: this one is called no more, or for long."""
        if pid in self._called:
            self._called.remove(pid)
            self._call_next()

    def _ring(self, pid: int, times: int) -> None:
        """Signal the process again and again until it connects.

        CPython handles a signal that arrives just before a blocking call only after that call, and
        loses one that arrives during a fork.
        """
        self._ringing.pop(pid, None)
        if times >= _RINGS:
            self._give_up(pid, f"no answer to {_RINGS} signals")
        if pid not in self._orders:
            self._called_long(pid)
            return
        if times >= _FIRST_RINGS:
            self._called_long(pid)
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
        self._called_long(pid)

    def forget(self, pid: int, error: str) -> None:
        """Drop the orders of a process that has ended."""
        self._uncalled.pop(pid, None)
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

    def next_order(self, pid: int) -> Order | None:
        """Return the next order to the process, if any."""
        queue = self._orders.get(pid)
        return queue[0] if queue else None

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
        self._uncalled.clear()
        for pid in tuple(self._ringing):
            self.answered(pid)
        for conversation in tuple(self._open):
            conversation.end()
        self._abstract.close()
        if self._hidden:
            self._hidden.close()
            remove(self.path)

    def _accepted(self, connection: socket.socket, pid: int) -> float:
        """Begin a conversation with a process of the program; return its cost."""
        try:
            generation = self._membership(pid)
        except OSError:
            generation = None  # /proc is unavailable: the process asks, or is called, again.
        if generation is None:
            received.close_queue(connection)
            return STRANGER
        self._make_room()
        from sockact.supervisor.processes.shim_conversation import Conversation

        bind = partial(self._bind, generation)
        look = partial(self._look, generation)
        found = Conversation(self, self._loop, connection, pid, generation, bind, look)
        self._open[found] = None
        return 0.0 if pid in self._orders else MEMBER

    def _make_room(self) -> None:
        """End a conversation if there are too many: of the generation that has the most of them,
        the oldest of the process with the most, if possible of one that was not called. Else one
        process that connects and says nothing would keep out all others, and the successor.
        """
        if len(self._open) < _MOST_CONNECTIONS:
            return
        found = [one for one in self._open if one.pid not in self._orders] or [*self._open]
        for key in (attrgetter("generation"), attrgetter("pid")):
            (most, _), *_ = Counter(map(key, found)).most_common(1)
            found = [one for one in found if key(one) == most]
        found[0].hang_up()

    def ended(self, conversation: Conversation) -> None:
        """Forget a conversation; call the process again if it has got new orders meanwhile."""
        self._open.pop(conversation, None)
        pid = conversation.pid
        if pid in self._orders and not self._closed:
            self._call(pid)


def _abstract(address: str, carried: CarriedProgram | None) -> socket.socket:
    if carried:
        return socket.socket(fileno=carried.calls)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    found.bind(b"\0" + address.encode())
    listen(found)
    return found
