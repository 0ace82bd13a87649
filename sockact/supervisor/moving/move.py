"""Moves the connections of one draining generation: parks those that are quiet, and has those
delivered on which a request begins.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from functools import partial

from sockact.core.record import dataclass
from sockact.handover import gate, movable
from sockact.handover.delivery.delivery import Parcel
from sockact.handover.delivery.parked import Parked
from sockact.kernel.epoll import TooMany
from sockact.supervisor.base.loop import READ
from sockact.supervisor.moving.destination import listener_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sockact.handover.delivery.parked import News
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.moving.courier import Courier
    from sockact.supervisor.moving.item import Item

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two looks for quiet connections."""
_SHARE = 0.05
"""Of one core, for these looks."""
_TRIES = 3
"""How often a connection may go back because of what its client has sent, before it is left alone.
"""
_LAST_RESPONSES = 2.0
"""Seconds after which those that are left alone are to end with their next response."""
_DEATHS = 3
"""How often the process that parks may be killed before nothing is parked any more."""
_ENDS_WITHIN = 0.5
"""Seconds in which the process that parks has to give all back."""


@dataclass
class Counts:
    """What has become of the connections of a generation."""

    moved: int = 0
    returned: int = 0
    """How often one on which a request had begun was not accepted in time."""
    to: int = 0
    """The generation that has got the last one."""


class Move:
    """The connections of one draining generation on their way to others."""

    def __init__(
        self,
        loop: Loop,
        pids: Callable[[], list[int]],
        listeners: Collection[Listener],
        patience: float,
        cannot_move: Callable[[list[int]], None],
        left: Callable[[set[int]], None],
    ) -> None:
        """`pids` returns the processes of the generation, whose connections are on the
        `listeners`. `cannot_move` is told of processes with connections that will not move: after
        `patience` seconds, of all. `left` is told of connections that have moved, by inode.
        """
        self._loop = loop
        self._pids = pids
        self._listeners = listeners
        self._patience = patience
        self._cannot_move = cannot_move
        self._left = left
        self.counts = Counts()
        self.moved: set[int] = set()
        """Inodes of the connections that have moved."""
        self._courier: Courier | None = None
        self._parked: Parked | None = None
        self._returned: dict[int, int] = {}
        """Inode of a connection → how often it has gone back with something else than a request."""
        self._pause = _FIRST_PAUSE
        self._since = time.monotonic()
        self._timer: Timer | None = None
        self._deaths = 0

    @property
    def parked(self) -> int:
        """Number of connections that are parked."""
        return len(self._parked) if self._parked else 0

    def go(self, courier: Courier, number: int) -> None:
        """Move connections to generation `number` from now on."""
        if self._courier is courier:
            return
        if self._courier is not None:
            self.stop()
        self._courier, self.counts.to = courier, number
        self._pause, self._since = _FIRST_PAUSE, time.monotonic()
        self._scan_at(time.monotonic())

    def stop(self, then: Callable[[], None] = lambda: None) -> None:
        """Give all back that has not moved, and call `then` once that is done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if parked := self._let_go():
            _Ending(self._loop, parked, then)
        else:
            then()
        self._courier = None

    def _let_go(self) -> Parked | None:
        """Give up what is parked, and have nothing more of it delivered."""
        if self._courier is not None:
            for item in self._courier.withdraw(self):
                os.close(item.parcel.fd)
        parked, self._parked = self._parked, None
        if parked is not None:
            self._loop.unwatch(parked.fileno())
            parked.end()
        return parked

    def delivered(self, items: list[Item]) -> None:
        """Take note that these were accepted."""
        assert self._parked is not None
        entries = self._parked.entries(item.index for item in items)
        inodes = {entry.inode for entry in entries}
        self._order(partial(self._parked.delivered, *(item.index for item in items)))
        for item in items:
            os.close(item.parcel.fd)
        self.moved |= inodes
        self.counts.moved += len(items)
        self._left(inodes)

    def undelivered(self, items: list[Item]) -> None:
        """Give these back."""
        self._give_back({item.index: item.parcel.fd for item in items})

    def _give_back(self, connections: dict[int, int]) -> None:
        """Give back connections (index → our descriptor) on which a request has begun."""
        assert self._parked is not None
        self.counts.returned += len(connections)
        self._order(partial(self._parked.give_back, *connections))
        for fd in connections.values():
            os.close(fd)

    def _order(self, order: Callable[[], None]) -> None:
        """Tell the process that parks; kill it if it does not listen."""
        try:
            order()
        except OSError:
            assert self._parked is not None
            self._parked.kill()

    def _scan_at(self, when: float) -> None:
        self._timer = self._loop.at(when, self._scan)

    def _scan(self) -> None:
        """Park what has become quiet."""
        before = time.process_time()
        parked = self._parked.inodes() if self._parked else set()
        tried = {inode for inode, times in self._returned.items() if times >= _TRIES}
        found = None
        with contextlib.suppress(TooMany, OSError):
            known = self.moved | parked | tried
            found = movable.find(self._pids(), self._listeners, known)
        if found is not None and found.entries:
            self._park(self._chosen(found))
            self._pause = _FIRST_PAUSE
        else:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        if found is not None and found.outside:
            self._cannot_move(found.outside)
        patience = min(self._patience, _LAST_RESPONSES if tried else math.inf)
        if time.monotonic() - self._since > patience:
            self._since = math.inf
            self._cannot_move(self._pids())
        rest = (time.process_time() - before) / _SHARE
        self._scan_at(time.monotonic() + max(self._pause, rest))

    def _chosen(self, found: movable.Movable) -> list[gate.Entry]:
        """Return what to park now: of those that may ask at any moment, no more than can be
        delivered soon, so that no client waits for long.
        """
        assert self._courier is not None
        lively = [entry for entry in found.entries if entry.inode in found.lively]
        others = [entry for entry in found.entries if entry.inode not in found.lively]
        return [*others, *lively[: self._courier.room]]

    def _park(self, entries: list[gate.Entry]) -> None:
        if not entries or self._deaths >= _DEATHS:
            return
        if self._parked is not None:
            self._order(partial(self._parked.add, entries))
            return
        with contextlib.suppress(OSError):  # Later, with other connections.
            self._parked = Parked(entries)
            self._loop.watch(self._parked.fileno(), READ, self._heard)

    def _heard(self, _mask: int) -> None:
        assert self._parked is not None
        try:
            news = self._parked.news()
        except OSError:
            self._parked.kill()
            return
        if news is None:
            self._died()
            return
        for one in news:
            self._take(one)

    def _take(self, news: News) -> None:
        """Have a connection delivered, or take note that it has gone back."""
        inode = news.entry.inode
        if news.fd is None:
            self._returned[inode] = self._returned.get(inode, 0) + (not news.busy)
            return
        assert self._courier is not None
        listener = listener_for(news.local, self._courier.listeners)
        if listener is None:
            self._give_back({news.index: news.fd})
        else:
            self._courier.add(self, news.index, Parcel(news.fd, news.client), listener)

    def _died(self) -> None:
        """Restore what a process had parked that was killed."""
        self._deaths += 1
        if parked := self._let_go():
            _restore(parked)


class _Ending:
    """Waits until all that was parked has gone back."""

    def __init__(self, loop: Loop, parked: Parked, then: Callable[[], None]) -> None:
        self._loop = loop
        self._parked = parked
        self._then = then
        loop.watch(parked.helper_fileno(), READ, self._ended)
        self._timer = loop.at(time.monotonic() + _ENDS_WITHIN, partial(self._ended, 0))

    def _ended(self, _mask: int) -> None:
        self._timer.cancel()
        self._loop.unwatch(self._parked.helper_fileno())
        _restore(self._parked)
        self._then()


def _restore(parked: Parked) -> None:
    """Give back what the process that parks has not, because it was killed, or is stuck."""
    if not parked.has_given_back():
        parked.kill()
        with contextlib.suppress(OSError):  # The program keeps the kernel from it, or has ended.
            gate.restore(parked.lost())
    parked.close()
