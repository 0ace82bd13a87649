"""Lanes: for each address, one listening (or UDP) socket for each generation: docs/lanes.md.

The lanes of an address are one group of sockets (kernel/sockets/reuseport.py), and the kernel is
told which of them gets new clients. Lane 0 is the listener that systemd has passed, or that
--listen has opened; the others are opened beside it. With one lane, all generations share it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket

from sockact.core.matching import Family, Kind
from sockact.core.record import dataclass, replace
from sockact.kernel.looks import apart_for
from sockact.kernel.sockets import reuseport, sock_diag, sockopt
from sockact.kernel.sockets.listener import accept_queue, of_socket
from sockact.kernel.sockets.reuseport import Steering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sockact.core.matching import Address
    from sockact.kernel.sockets.listener import Listener

LONGEST_QUEUE = 1 << 20
"""The kernel limits it to net.core.somaxconn."""
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
        group now. Raises OSError.
        """
        if self.count > 1:
            self.stopped(listener)
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
        # By any member: this one may not listen at the moment.
        reuseport.attach(self._lanes[order[0]][place].socket, steering)

    def open_private(self, place: int, source: str, lane: int) -> socket.socket:
        """Bind a socket to this IP address whose connections to the address of this place reach the
        lane, until `close_private`. Raises OSError.
        """
        found = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
        try:
            # Without SO_REUSEADDR: nobody else can use the port as long as the socket exists.
            found.bind((source, 0))
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

    def drop_datagrams(self, lane: int) -> None:
        """Drop what came to a lane while nobody had it: the clients have given up."""
        for listener in self._lanes[lane]:
            if listener.address.kind is Kind.DATAGRAM:
                with contextlib.suppress(OSError):
                    for _ in range(_MOST_DATAGRAMS):
                        listener.socket.recv(1, socket.MSG_DONTWAIT)

    def stopped(self, listener: Listener) -> None:
        """Take note that a listener was shut down: the last member has got its number.

        Raises OSError.
        """
        order = self._order[self._lanes[listener.lane].index(listener)]
        if listener.lane in order:
            order[order.index(listener.lane)] = order[-1]
            order.pop()
            self._steer(listener)

    def is_empty(self, lane: int) -> bool:
        """Whether nothing waits in this lane that the kernel has received."""
        poll = select.poll()
        for listener in self._lanes[lane]:
            poll.register(listener.socket, select.POLLIN)
        return not poll.poll(0)

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


def group(
    listeners: Sequence[Listener], steered: int, orders: Sequence[Sequence[int]] = ()
) -> Lanes:
    """The lanes that these listeners are, with clients steered to one of them."""
    count = 1 + max((x.lane for x in listeners), default=0)
    lanes = [[x for x in listeners if x.lane == lane] for lane in range(count)]
    found = Lanes(lanes, orders=orders)
    found.split = Split(steered)
    return found


def reopen(
    first: Sequence[Listener], stored: Mapping[tuple[Address, int], socket.socket], count: int
) -> Lanes | None:
    """The lanes of an earlier life of the service, by (address, lane); None if one is missing."""
    wanted = {(x.address, lane) for x in first for lane in range(1, count)}
    if not stored or stored.keys() != wanted:
        return None
    return Lanes(
        [
            first,
            *([_lane(x, stored[x.address, lane], lane) for x in first] for lane in range(1, count)),
        ]
    )


def passed(listeners: Sequence[Listener], *, wanted: bool) -> Lanes | None:
    """The lanes that systemd has opened: several ListenStream= lines with the same address, and
    ReusePort=yes. It has called listen(2) in the order of the lines. None if there is one line for
    each address. If no lanes are `wanted`, all clients go to the first line. Raises OSError.
    """
    by_address: dict[Address, list[Listener]] = {}
    for listener in listeners:
        same = by_address.setdefault(listener.address, [])
        same.append(replace(listener, lane=len(same)))
    every = by_address.values()
    count = min(map(len, every))
    if len(by_address) == len(listeners):
        return None
    for same in every:
        if len(same) > 1:
            reuseport.attach(same[0].socket, Steering(0))
    if count == 1 or not wanted:
        few = next(str(address) for address, same in by_address.items() if len(same) == count)
        why = f"only one ListenStream= line for {few}; write as many for each address"
        return Lanes([[same[0] for same in every]], why if wanted else "")
    return Lanes([[same[lane] for same in every] for lane in range(count)])


def open_beside(first: Sequence[Listener], count: int) -> Lanes:
    """Open `count` lanes, the first of which is there. If that is impossible, there is one.

    A listener that systemd has opened gets SO_REUSEPORT and this process's user as its owner.
    """
    if count == 1:
        return Lanes([first])
    if any(x.address.family is Family.UNIX for x in first):
        return Lanes([first], "Unix sockets have no lanes")
    opened: list[list[Listener]] = [[*first], *([] for _ in range(1, count))]
    with contextlib.ExitStack() as undo:
        try:
            for one in first:
                reuseport.share(one.socket, os.geteuid())
                reuseport.begin(one.socket)
                for lane in range(1, count):
                    opened[lane].append(_beside(one, lane))
                    undo.callback(opened[lane][-1].close)
        except OSError as error:
            return Lanes([first], f"cannot open another socket at {one.address}: {error.strerror}")
        undo.pop_all()
    return Lanes(opened)


def _beside(first: Listener, lane: int) -> Listener:
    other = reuseport.join(first.socket, LONGEST_QUEUE)
    # What the .socket unit has set holds for each lane.
    sockopt.put_back(other, first.original)
    return _lane(first, other, lane)


def _lane(first: Listener, other: socket.socket, lane: int) -> Listener:
    found = of_socket(first.name, other, owned=True, original=first.original)
    return replace(found, lane=lane)
