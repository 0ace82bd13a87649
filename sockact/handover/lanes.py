"""Lanes: for each address, one listening (or UDP) socket for each generation: docs/lanes.md.

The lanes of an address are one group of sockets (kernel/sockets/reuseport.py), and the kernel is
told which of them gets new clients. Lane 0 is the listener that systemd has passed, or that
--listen has opened; the others are opened beside it (lane_opening.py). With one lane, all
generations share it.
"""

from __future__ import annotations

import contextlib
import select
import socket

from sockact.core.matching import Kind
from sockact.core.record import dataclass
from sockact.kernel.looks import apart_for
from sockact.kernel.sockets import own_port, reuseport, sock_diag
from sockact.kernel.sockets.listener import accept_queue
from sockact.kernel.sockets.reuseport import Steering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.core.lanes.unaccepted import Unaccepted
    from sockact.kernel.sockets.listener import Listener

LONGEST_QUEUE = 1 << 20
"""Of connections that wait to be accepted: the kernel limits it to net.core.somaxconn."""
_MOST_DATAGRAMS = 10_000


@dataclass(frozen=True)
class Split:
    """How new clients are shared out."""

    default: int
    """The lane that all others get."""
    shares: tuple[tuple[int, int], ...] = ()
    """(lane, share in thousandths)."""
    by_client: bool = False
    """No client sees two lanes."""
    salt: int = 0
    """Which clients belong to a share depends on it."""


class Lanes:
    """The lanes of all addresses of one service."""

    def __init__(
        self,
        lanes: Sequence[Sequence[Listener]],
        why_none: str = "",
        orders: Sequence[Sequence[int]] = (),
    ) -> None:
        """`lanes` has the listeners of lane 0, one for each address, then those of lane 1, and so
        on. `why_none`: why there is only one. `orders`: for each address, the lanes in the order of
        the numbers that the kernel gives them, if that is not theirs.
        """
        self._lanes = [tuple(lane) for lane in lanes]
        self.why_none = why_none
        self.lost: Unaccepted | None = None
        """Connections that waited in other lanes at the start."""
        self.split = Split(0)
        # A socket of ours → the place of an address, and the rule for what comes from it.
        self._private: dict[socket.socket, tuple[int, tuple[str, int, int]]] = {}
        usual = [range(len(lanes)) for _ in self._lanes[0]]
        self._order = [[*order] for order in orders or usual]

    @property
    def count(self) -> int:
        """Number of lanes of each address."""
        return len(self._lanes)

    @property
    def listeners(self) -> list[Listener]:
        """All listeners of all lanes."""
        return [listener for lane in self._lanes for listener in lane]

    @property
    def addresses(self) -> tuple[Listener, ...]:
        """One listener for each address."""
        return self._lanes[0]

    def __getitem__(self, lane: int) -> tuple[Listener, ...]:
        """The listeners of one lane, one for each address."""
        return self._lanes[lane]

    @property
    def steered(self) -> int:
        """The lane that new clients wait in, but for those of a share."""
        return self.split.default

    def steer(self, split: Split) -> None:
        """Share out new clients like this from now on. Raises OSError."""
        before, self.split = self.split, split
        try:
            for listener in self.addresses if self.count > 1 else ():
                self._steer(listener)
        except OSError:
            self.split = before  # So that it is tried again.
            raise

    def orders(self) -> tuple[tuple[int, ...], ...]:
        """The lanes in the order of their numbers, for the version that takes over."""
        return tuple(map(tuple, self._order))

    def listens_again(self, listener: Listener) -> None:
        """Take note that a listener was shut down and listens again: it is the last member of its
        group now. If that raises OSError, `steer` with the same split is to be tried again.
        """
        if self.count > 1:
            self._take_out(listener)
            self._order[self._lanes[listener.lane].index(listener)].append(listener.lane)
            self._steer(listener)

    def _steer(self, listener: Listener) -> None:
        """Steer the clients of its address."""
        place = self._lanes[listener.lane].index(listener)
        order = self._order[place]
        if self.split.default not in order:
            return  # Until it listens again, which is soon.
        private = tuple(
            (source, port, order.index(lane))
            for at, (source, port, lane) in self._private.values()
            if at == place and lane in order
        )
        split = self.split
        shares = tuple((order.index(lane), share) for lane, share in split.shares if lane in order)
        steering = Steering(
            order.index(split.default), shares, split.by_client, split.salt, private
        )
        found = (self._lanes[lane][place].socket for lane in order)
        if member := next(filter(reuseport.is_member, found), None):
            reuseport.attach(member, steering)

    def open_private(self, place: int, source: str, lane: int) -> socket.socket:
        """Bind a socket to this IP address whose connections to the address of this place reach the
        lane, until `close_private`. Raises OSError.
        """
        found = own_port.bound(source)
        try:
            self._private[found] = place, (source, found.getsockname()[1], lane)
            self._steer(self.addresses[place])
        except OSError:
            self._private.pop(found, None)
            found.close()
            raise
        return found

    def close_private(self, source: socket.socket) -> None:
        """Undo `open_private`. Raises OSError."""
        if (rule := self._private.pop(source, None)) is None:
            return
        try:
            self._steer(self.addresses[rule[0]])
        finally:
            source.close()

    def renumber(self, kept: int) -> None:
        """Take note that the streams of all other lanes were shut down, and steer to those of the
        lane that is kept: their numbers are known then. Raises OSError.
        """
        for place, listener in enumerate(self._lanes[kept]):
            if listener.address.kind is Kind.STREAM:
                self._order[place] = [kept]
                self._steer(listener)

    def drop_datagrams(self, lane: int) -> None:
        """Drop what came to a lane while nobody had it: the clients have given up."""
        for listener in self._lanes[lane]:
            if listener.address.kind is Kind.DATAGRAM:
                with contextlib.suppress(OSError):
                    for _ in range(_MOST_DATAGRAMS):
                        listener.socket.recv(1, socket.MSG_DONTWAIT)

    def stopped(self, listener: Listener) -> None:
        """Take note that a listener was shut down: the last member has got its number. Several of
        one address have to be told in the order in which they were. Raises OSError as
        `listens_again` does.
        """
        if self._take_out(listener):
            self._steer(listener)

    def _take_out(self, listener: Listener) -> bool:
        """Take a listener out of the order; return whether it was there."""
        order = self._order[self._lanes[listener.lane].index(listener)]
        there = listener.lane in order
        if there:
            order[order.index(listener.lane)] = order[-1]
            order.pop()
        return there

    def is_empty(self, lane: int) -> bool:
        """Whether nothing waits in this lane that the kernel has received."""
        poll = select.poll()
        for listener in self._lanes[lane]:
            poll.register(listener.socket, select.POLLIN)
        # One that was shut down has nothing any more, but can be read all the same.
        return all(mask & select.POLLHUP for _, mask in poll.poll(0))

    def waiting(self, lane: int) -> int:
        """Number of connections that wait to be accepted in this lane."""
        queues = [accept_queue(listener) for listener in self._lanes[lane]]
        return sum(queue[0] for queue in queues if queue)

    def handshakes(self) -> frozenset[bytes]:
        """The handshakes under way at all addresses, of which the kernel does not tell the lane: a
        connection stays in the lane that got its first packet. Raises OSError.
        """
        streams = [x for x in self.addresses if x.address.kind is Kind.STREAM]
        ports = {(int(x.socket.family), x.address.port) for x in streams}
        return frozenset(_handshakes(tuple(sorted(ports))))


@apart_for("connections")
def _handshakes(ports: tuple[tuple[int, int], ...]) -> set[bytes]:
    return {found for port in ports for found in sock_diag.tcp_handshakes(*port)}
