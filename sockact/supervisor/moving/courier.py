"""Delivers connections to one generation: one delivery at a time, to its processes in turn."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque

from sockact.handover.delivery.accepts import Accepts
from sockact.handover.delivery.delivery import MOST, Delivery
from sockact.handover.interest import waiting
from sockact.supervisor.base.loop import Timer
from sockact.supervisor.moving.channels import Channels
from sockact.supervisor.moving.item import Item, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.lifecycle.model import Exit
    from sockact.handover.delivery.delivery import Parcel
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.generations.live_generation import LiveGeneration
    from sockact.supervisor.moving.item import Sender
    from sockact.supervisor.processes.shim_calls import ShimCalls

_WITHIN = 1.0
"""Seconds until a connection goes back whose delivery has not begun, and those of a delivery."""
_SURE = 3
"""Attempts after which it is certain that nothing can be delivered."""
_STUCK = 3.0
"""Seconds from the deadline of a delivery until it is stuck; it ends 1 s after it by itself."""
_AGAIN = 0.02
"""Seconds until the next look whether a process waits for connections."""
_SOON = 0.25
"""Seconds of deliveries to have before us: those that may ask next wait for as long."""
_FEWEST = 32
_RETRY = 0.1
"""Seconds until another process gets what one has not accepted."""


class Courier:
    """The deliveries to one generation."""

    def __init__(
        self,
        loop: Loop,
        generation: LiveGeneration,
        pids: Callable[[], list[int]],
        listeners: tuple[Listener, ...],
        calls: ShimCalls,
        refused: Callable[[str], None],
    ) -> None:
        """`pids` returns its processes; `listeners` are those of its lane. `refused` is called with
        the reason if nothing can be delivered to it, now or later.
        """
        self._loop = loop
        self._channels = Channels(loop, calls, self._pump_soon, _delivered, self._put_back)
        self._pids = pids
        self._refused = refused
        self.listeners = listeners
        self._is_prepared = False
        self._accepts = Accepts({x.inode: x.socket.fileno() for x in listeners})
        generation.accept_by(self._accepts)
        self._queue: deque[Item] = deque()
        self._delivery: Delivery | None = None
        self._items: list[Item] = []
        """Those of the delivery under way."""
        self._began = 0.0
        self._each = 0.03
        """Seconds that a connection takes, by the last deliveries."""
        self._impossible = 0
        """How often in a row nothing could be delivered, and would not be later."""
        self._last = 0
        """The process of the last delivery."""
        self._timer: Timer | None = None
        self._deadline = Timer(0.0, lambda: None)
        """When the delivery under way should have ended long ago."""

    @property
    def delivers(self) -> bool:
        """Whether a delivery is under way."""
        return self._delivery is not None or self._channels.delivers

    @property
    def room(self) -> int:
        """How many more connections it could deliver soon."""
        traced = max(_FEWEST, int(_SOON / self._each)) - len(self._items)
        return max(0, max(traced, self._channels.room) - len(self._queue))

    def prepare(self) -> None:
        """Have the processes with the shim accept without a tracer, which takes them a while."""
        if self._is_prepared:
            return
        self._is_prepared = True
        for listener in self.listeners:
            if listener.socket.type == socket.SOCK_STREAM:
                with contextlib.suppress(OSError):
                    self._channels.open(waiting(self._pids(), {listener.inode}), listener.inode)

    def rest(self) -> None:
        """Undo `prepare`: nothing is to be delivered for now."""
        self._is_prepared = False
        self._channels.close()

    def add(self, sender: Sender, index: int, parcel: Parcel, listener: int) -> None:
        """Deliver a connection. The sender is told what has become of it, unless it withdraws."""
        self._queue.append(Item(sender, index, parcel, listener, time.monotonic() + _WITHIN))
        self._pump_soon()

    def withdraw(self, sender: Sender) -> list[Item]:
        """Deliver nothing of this sender any more: it is told of what was accepted so far. Returns
        what was not.
        """
        self._channels.withdraw(sender)
        if self._delivery is not None and any(item.sender is sender for item in self._items):
            self._accepts.end()
            items, self._items = self._items, []
            self._queue.extendleft(reversed(self._told_of(self._delivery, items)))
        withdrawn = [item for item in self._queue if item.sender is sender]
        self._queue = deque(item for item in self._queue if item.sender is not sender)
        return withdrawn

    def close(self) -> None:
        """End the delivery under way: nothing of it is accepted any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._channels.close()
        if self._delivery is not None:
            self._forget(self._delivery)
            self._delivery.end()
            self._delivery = None

    def _pump_soon(self) -> None:
        """Go on after what else has been reported just now."""
        if self._queue and self._timer is None:
            self._timer = self._loop.at(time.monotonic(), self._pump)

    def _pump(self) -> None:
        self._timer = None
        self._return_late()
        self._queue = deque(item for item in self._queue if not self._channels.send(item))
        if not self._queue or self._delivery is not None:
            return
        listener = self._queue[0].listener
        if self._channels.serves(listener):
            return  # It has news when there is room again.
        try:
            pids = sorted(waiting(self._pids(), {listener}))
        except OSError:
            pids = []
        if not pids:
            self._timer = self._loop.at(time.monotonic() + _AGAIN, self._pump)
            return
        pid = next((pid for pid in pids if pid > self._last), pids[0])
        self._last = pid
        same = [item for item in self._queue if item.listener == listener]
        self._begin(pid, listener, same[: min(MOST, -(-len(same) // len(pids)))])

    def _put_back(self, items: list[Item]) -> None:
        self._queue.extendleft(reversed(items))
        self._pump_soon()

    def _return_late(self) -> None:
        now = time.monotonic()
        late = [item for item in self._queue if item.until <= now]
        if late:
            self._queue = deque(item for item in self._queue if item.until > now)
            tell(late, lambda sender, items: sender.undelivered(items))

    def _begin(self, pid: int, listener: int, items: list[Item]) -> None:
        try:
            delivery = Delivery(pid, listener, [item.parcel for item in items], _WITHIN)
        except OSError:
            self._timer = self._loop.at(time.monotonic() + _AGAIN, self._pump)
            return
        gone = {id(item) for item in items}
        self._queue = deque(item for item in self._queue if id(item) not in gone)
        self._delivery, self._items, self._began = delivery, items, time.monotonic()
        self._accepts.begin(delivery)
        # Not its answer: until it has ended, the threads have a tracer, and can have no other.
        self._loop.watch_child(delivery.pid, self._ended)
        self._deadline = self._loop.at(self._began + _WITHIN + _STUCK, self._stuck)

    def _stuck(self) -> None:
        """Take note that the process that traces does not end, and cannot be made to."""
        assert self._delivery is not None
        self._accepts.end()
        items, self._items = self._items, []
        self._queue.extendleft(reversed(self._told_of(self._delivery, items)))
        self._refused("a process keeps the kernel from tracing it")

    def _forget(self, delivery: Delivery) -> None:
        """Wait no longer for the end of a delivery."""
        self._loop.unwatch_child(delivery.pid)
        self._deadline.cancel()
        self._accepts.end()

    def _ended(self, _exit: Exit) -> None:
        delivery, self._delivery = self._delivery, None
        assert delivery is not None
        self._forget(delivery)
        items, self._items = self._items, []
        left = self._told_of(delivery, items)
        if items:
            each = (time.monotonic() - self._began) / len(items)
            self._each = (self._each + each) / 2
        why = delivery.end()
        # They have the time until `until`, if another attempt makes sense at all.
        self._queue.extendleft(reversed(left))
        self._impossible = self._impossible + 1 if delivery.is_impossible else 0
        if self._impossible >= _SURE:
            self._refused(why)
        elif left and self._queue:
            self._timer = self._loop.at(time.monotonic() + _RETRY, self._pump)
        else:
            self._pump()

    def _told_of(self, delivery: Delivery, items: list[Item]) -> list[Item]:
        """Tell the senders what was accepted; return the other items."""
        taken = {parcel.fd for parcel in delivery.taken}
        accepted = [item for item in items if item.parcel.fd in taken]
        _delivered(accepted)
        return [item for item in items if item.parcel.fd not in taken]


def _delivered(items: list[Item]) -> None:
    tell(items, lambda sender, some: sender.delivered(some))
