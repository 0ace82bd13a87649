"""Lanes in which nobody accepts any more: what waits there is moved, or reset, and counted.

A listening socket that is shut down loses its accept queue. The kernel moves the queue to another
socket of the group where net.ipv4.tcp_migrate_req is 1 (Linux 5.14), otherwise it resets the
connections: docs/lanes.md.
"""

from __future__ import annotations

import contextlib
import os
import socket

from sockact.core.lanes.unaccepted import Unaccepted
from sockact.core.matching import Kind
from sockact.handover.lanes import LONGEST_QUEUE, Split
from sockact.kernel.sockets import reuseport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sockact.handover.lanes import Lanes
    from sockact.kernel.sockets.listener import Listener

_SO_INCOMING_CPU = 49


def abandon(lanes: Lanes, lane: int, live: set[int]) -> Unaccepted:
    """End what waits in a lane whose generation accepts nothing any more, while those that have
    the lanes `live` do.

    The connections are moved to the lane that new clients are steered to, before Linux 6.2 to any
    lane that is live. Raises OSError.
    """
    found = Unaccepted(lanes.waiting(lane), bool(reuseport.migrates()))
    # The kernel may choose any member, so lanes that nobody has must not be in the group meanwhile.
    idle = [one for one in range(lanes.count) if one not in live] if found.moved else [lane]
    streams = _streams(lanes, idle)
    with _preferred(lanes):
        for listener in streams:
            _shut_down(listener)
            lanes.stopped(listener)
    _listen_again(lanes, streams)
    return found


def steer_to_clients(lanes: Lanes) -> None:
    """Steer new clients to the lane in which most clients wait since an earlier life of the
    service, of which nobody knows the numbers of the lanes. What waits in the others is moved to
    that lane, or reset, and told as `lost`. Only while no program has a lane. Raises OSError.
    """
    kept = max(range(lanes.count), key=lanes.waiting)
    others = [lane for lane in range(lanes.count) if lane != kept]
    for listener in _streams(lanes, [kept]):
        if not reuseport.is_member(listener.socket):
            # The supervisor was killed between shutdown(2) and listen(2).
            listener.socket.listen(LONGEST_QUEUE)
    found = Unaccepted(sum(map(lanes.waiting, others)), bool(reuseport.migrates()))
    lanes.lost = found if found.count else None
    lanes.split = Split(kept)
    streams = _streams(lanes, others)
    with _preferred(lanes):
        for listener in streams:
            _shut_down(listener)
    # Not before: the numbers are unknown, and an unknown one means a choice by a hash.
    lanes.renumber(kept)
    _listen_again(lanes, streams)
    lanes.steer(lanes.split)


def _streams(lanes: Lanes, wanted: Sequence[int]) -> list[Listener]:
    found = [one for lane in wanted for one in lanes[lane]]
    return [one for one in found if one.address.kind is Kind.STREAM]


def _shut_down(listener: Listener) -> None:
    if reuseport.is_member(listener.socket):  # Otherwise shutdown(2) fails with ENOTCONN.
        listener.socket.shutdown(socket.SHUT_RD)


def _listen_again(lanes: Lanes, streams: Sequence[Listener]) -> None:
    for listener in streams:
        listener.socket.listen(LONGEST_QUEUE)
        lanes.listens_again(listener)


@contextlib.contextmanager
def _preferred(lanes: Lanes) -> Iterator[None]:
    """Have the kernel move connections to the lane that new clients are steered to, if it can."""
    with contextlib.ExitStack() as undo:
        with contextlib.suppress(OSError):
            _prefer([one.socket for one in _streams(lanes, [lanes.steered])], undo)
        yield


def _prefer(wanted: Sequence[socket.socket], undo: contextlib.ExitStack) -> None:
    """Have the kernel move connections to these members of their groups. Raises OSError.

    Where it chooses by a hash, it prefers members whose SO_INCOMING_CPU is the CPU that it runs on
    (Linux 6.2). Otherwise they could go to a release that is not proven yet, or to a generation
    that has got its stop signal.
    """
    usual = os.sched_getaffinity(0)
    cpu = min(usual)
    undo.callback(os.sched_setaffinity, 0, usual)
    os.sched_setaffinity(0, {cpu})
    for one in wanted:
        undo.callback(one.setsockopt, socket.SOL_SOCKET, _SO_INCOMING_CPU, -1)
        one.setsockopt(socket.SOL_SOCKET, _SO_INCOMING_CPU, cpu)
