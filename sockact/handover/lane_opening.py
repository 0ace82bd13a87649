"""Opens the lanes of a service: passed by systemd, kept in its store, or beside the first listener.

Where there can be only one lane, the result says why (core/lanes/missing.py).
"""

from __future__ import annotations

import contextlib
import os

from sockact.core.lanes import missing
from sockact.core.matching import Family
from sockact.core.record import replace
from sockact.handover.abandoned import steer_to_clients
from sockact.handover.lanes import LONGEST_QUEUE, Lanes, Split
from sockact.kernel.sockets import multicast, reuseport, sockopt
from sockact.kernel.sockets.listener import of_socket
from sockact.kernel.sockets.reuseport import Steering

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from sockact.core.matching import Address
    from sockact.kernel.sockets.listener import Listener


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
    """The lanes of an earlier life of the service, by (address, lane); None if one is missing.

    Clients wait in one of them since then: new ones are steered there. Raises OSError.
    """
    wanted = {(x.address, lane) for x in first for lane in range(1, count)}
    if not stored or stored.keys() != wanted:
        return None
    found = Lanes(
        [
            first,
            *([_lane(x, stored[x.address, lane], lane) for x in first] for lane in range(1, count)),
        ]
    )
    steer_to_clients(found)
    return found


def passed(listeners: Sequence[Listener], *, wanted: bool) -> Lanes | None:
    """The lanes that systemd has opened: several ListenStream= lines with the same address, and
    ReusePort=yes. It has called listen(2) in the order of the lines. None if there is one line for
    each address. If no lanes are `wanted`, all clients go to the first line. Raises OSError.
    """
    # With BindToDevice=, lines of different .socket units may have the same address.
    groups: dict[tuple[Address, bytes], list[Listener]] = {}
    for listener in listeners:
        same = groups.setdefault((listener.address, _device(listener)), [])
        same.append(replace(listener, lane=len(same)))
    every = groups.values()
    count = min(map(len, every))
    if len(groups) == len(listeners):
        return None
    why = _why_never(listeners)
    if count == 1 and not why:
        why = missing.single(next(same[0].address for same in every if len(same) == 1))
    if why or not wanted:
        for same in every:
            if len(same) > 1:
                reuseport.attach(same[0].socket, Steering(0))
        return Lanes([[same[0] for same in every]], why if wanted else "")
    found = Lanes([[same[lane] for same in every] for lane in range(count)])
    steer_to_clients(found)
    return found


def _device(listener: Listener) -> bytes:
    return b"" if listener.address.family is Family.UNIX else reuseport.device(listener.socket)


def _why_never(listeners: Sequence[Listener]) -> str:
    """Why no further socket could be a lane of one of these; "" if it could."""
    for one in listeners:
        if one.address.family is Family.UNIX:
            return missing.unix(one.address)
        if multicast.receives(one.socket):
            return missing.multicast(one.address)
    return ""


def open_beside(first: Sequence[Listener], count: int) -> Lanes:
    """Open `count` lanes, the first of which is there. If that is impossible, there is one.

    A listener that systemd has opened gets SO_REUSEPORT and this process's user as its owner.
    """
    if count == 1:
        return Lanes([first])
    if why := _why_never(first):
        return Lanes([first], why)
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
            return Lanes([first], missing.unopened(one.address, error, passed=not one.owned))
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
