"""Movable connections: those of a generation that may be waiting for the client's next request, and
that the program waits for in epoll. docs/delivery.md.

What is found here is looked at again when it is parked. Unix connections are left out: the kernel
does not show their activity.
"""

from __future__ import annotations

from sockact.core.connections import may_park
from sockact.core.record import dataclass
from sockact.handover.gate import Entry
from sockact.handover.interest import waits_on
from sockact.kernel import epoll, procfs, waits
from sockact.kernel.looks import apart, apart_for
from sockact.kernel.sockets import sock_diag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sockact.kernel.sockets.listener import Listener

    # (pid, epfd, fd, events, data, inode) of an entry
    _Plain = tuple[int, int, int, int, int, int]

_INPUT = 1
_LIVELY = 1000
"""Milliseconds."""


@dataclass(frozen=True)
class Movable:
    """The connections of one generation that may wait for a request."""

    entries: list[Entry]
    """Those in epoll, one entry each."""
    lively: set[int]
    """Inodes of those that were in use within the last second."""
    outside: list[int]
    """Processes with a thread that waits for the next request outside of epoll."""


def find(
    pids: Iterable[int], listeners: Iterable[Listener], known: Collection[int] = ()
) -> Movable:
    """Find those of these processes, but for the `known` ones, by inode.

    A process that may not be read (a set-user-ID helper) is left out. Raises PermissionError if
    none may be, epoll.TooMany, OSError.
    """
    held = _sockets([*pids])
    ports = {(int(x.socket.family), x.address.port) for x in listeners if x.address.port}
    owned = {inode for inodes in held.values() for inode in inodes} - {*known}
    idle, lively = _idle(sorted(ports), owned)
    found: dict[int, list[Entry]] = {}
    outside: list[int] = []
    for pid, inodes in held.items():
        if not (own := inodes & idle):
            continue
        entries = [Entry(*one) for one in _entries(pid, own)]
        for entry in entries:
            found.setdefault(entry.inode, []).append(entry)
        left = own - {entry.inode for entry in entries}
        if left and _is_read(pid, left):
            outside.append(pid)
    # Of several entries, nobody knows which the program goes by; tokio has two descriptors of one
    # instance. One that waits for no input may be in the hands of a thread (EPOLLONESHOT).
    alone = (its[0] for its in found.values() if len({(x.pid, x.fd, x.data) for x in its}) == 1)
    return Movable([entry for entry in alone if entry.events & _INPUT], lively, outside)


@apart
def _sockets(pids: list[int]) -> dict[int, set[int]]:
    """Process → inodes of its sockets."""
    found = {}
    refused: PermissionError | None = None
    for pid in pids:
        try:
            found[pid] = {*procfs.sockets(pid).values()}
        except PermissionError as error:
            refused = error
    if refused and not found:
        raise refused
    return found


@apart_for("connections")
def _idle(ports: list[tuple[int, int]], owned: set[int]) -> tuple[set[int], set[int]]:
    """Return the inodes of all, and of the lively ones."""
    found = [
        connection
        for family, port in ports
        for connection in sock_diag.tcp_connections(family, port, owned)
        if may_park(connection)
    ]
    return {x.inode for x in found}, {x.inode for x in found if x.last_sent < _LIVELY}


@apart
def _entries(pid: int, inodes: set[int]) -> list[_Plain]:
    limit = epoll.Limit()
    return [
        (pid, epfd, entry.fd, entry.events, entry.data, entry.inode)
        for epfd, entries in epoll.of_process(pid, limit).items()
        for entry in entries
        if entry.inode in inodes
    ]


@apart
def _is_read(pid: int, inodes: set[int]) -> bool:
    """Whether a thread waits in recv, poll or select on one of these sockets. One in the hands of a
    thread that works, as those of gunicorn's gthread workers are, comes back into epoll.
    """
    sockets = procfs.sockets(pid)
    calls = waits.blocked_calls(pid)
    return any(sockets.get(fd) in inodes for call in calls for fd in waits_on(pid, call))
