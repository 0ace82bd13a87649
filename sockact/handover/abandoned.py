"""Lanes that no generation has any more: what waits there is moved, or reset, and counted.

A listening socket that is shut down loses its accept queue. The kernel moves the queue to another
socket of the group where net.ipv4.tcp_migrate_req is 1 (Linux 5.14), otherwise it resets the
connections: docs/lanes.md.
"""

from __future__ import annotations

import contextlib
import os
import socket

from sockact.core.matching import Kind
from sockact.core.record import dataclass
from sockact.handover.lanes import LONGEST_QUEUE, Split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.handover.lanes import Lanes
    from sockact.kernel.sockets.listener import Listener

_SO_INCOMING_CPU = 49


@dataclass(frozen=True)
class Abandoned:
    """What became of connections that no generation had accepted."""

    count: int
    moved: bool
    """The kernel has moved them to other lanes; otherwise it has reset them."""

    def told(self, whose: str) -> str:
        """Return a message about the connections that `whose` generation had not accepted."""
        one = self.count == 1
        which = f"{self.count} {'connection' if one else 'connections'} that {whose} not accepted"
        if self.moved:
            return f"{which} {'was' if one else 'were'} passed on to another generation"
        hint = "with net.ipv4.tcp_migrate_req=1, the kernel passes them on"
        return f"{which} {'was' if one else 'were'} reset; {hint}"


def abandon(lanes: Lanes, lane: int, live: set[int]) -> Abandoned:
    """End what waits in a lane that no generation has any more, while the lanes `live` have one.

    The connections are moved to the lane that new clients are steered to, before Linux 6.2 to any
    lane that is live. Raises OSError.
    """
    waiting, moves = lanes.waiting(lane), _kernel_moves()
    # The kernel may choose any member, so lanes that nobody has must not be in the group meanwhile.
    idle = [one for one in range(lanes.count) if one not in live] if moves else [lane]
    _listen_anew(lanes, idle)
    return Abandoned(waiting, moves)


def steer_to_clients(lanes: Lanes) -> Abandoned:
    """Steer new clients to the lane in which most clients wait since an earlier life of the
    service, of which nobody knows the numbers of the lanes. What waits in the others is moved to
    that lane, or reset. Only while no program has a lane. Raises OSError.
    """
    kept = max(range(lanes.count), key=lanes.waiting)
    others = [lane for lane in range(lanes.count) if lane != kept]
    for listener in _streams(lanes, kept):
        if not _listens(listener):  # The supervisor was killed between shutdown(2) and listen(2).
            listener.socket.listen(LONGEST_QUEUE)
    lanes.split = Split(kept)
    found = Abandoned(sum(map(lanes.waiting, others)), _kernel_moves())
    _listen_anew(lanes, others)
    lanes.steer(Split(kept))
    return found


def _listen_anew(lanes: Lanes, idle: Sequence[int]) -> None:
    streams = [one for lane in idle for one in _streams(lanes, lane)]
    with contextlib.ExitStack() as undo:
        with contextlib.suppress(OSError):
            _prefer([one.socket for one in _streams(lanes, lanes.steered)], undo)
        for listener in streams:
            if _listens(listener):
                listener.socket.shutdown(socket.SHUT_RD)
            lanes.stopped(listener)
    for listener in streams:
        listener.socket.listen(LONGEST_QUEUE)
        lanes.listens_again(listener)


def _streams(lanes: Lanes, lane: int) -> list[Listener]:
    return [one for one in lanes[lane] if one.address.kind is Kind.STREAM]


def _listens(listener: Listener) -> bool:
    return bool(listener.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


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


def _kernel_moves() -> bool:
    try:
        with open("/proc/sys/net/ipv4/tcp_migrate_req") as file:
            return file.read().strip() == "1"
    except OSError:
        return False
