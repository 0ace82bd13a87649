"""Census: the connections of each generation, counted as busy, fresh or quiet.

One INET_DIAG dump for a listener's port serves all generations; the inode tells whose a connection
is. The kernel tells nothing of what goes on in a Unix connection, so as long as it is open it
counts as busy. Datagrams have no connections.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sockact.core.drain import Activity, classify
from sockact.core.matching import Family, Kind
from sockact.kernel import procfs, sock_diag

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator

    from sockact.kernel.listener import Listener


@dataclass
class Counts:
    """The connections of one generation."""

    busy: int = 0
    fresh: int = 0
    quiet: int = 0

    @property
    def total(self) -> int:
        return self.busy + self.fresh + self.quiet


def count(
    generations: dict[int, Iterable[int]], listeners: list[Listener]
) -> dict[int, Counts] | None:
    """Generation → counts, from generation → pids. None when no listener has connections.

    A process that may not be read (a set-user-ID helper) is left out. Raises OSError when the
    kernel has no sock_diag, or refuses it, or cannot tell now; PermissionError when no process of
    a generation may be read.
    """
    streams = [listener for listener in listeners if listener.address.kind is Kind.STREAM]
    if not streams:
        return None
    owners = {inode: number for number, pids in generations.items() for inode in _sockets_of(pids)}
    counts = {number: Counts() for number in generations}
    for inode, activity in _activities(streams):
        if inode in owners:
            found = counts[owners[inode]]
            setattr(found, activity.value, getattr(found, activity.value) + 1)
    return counts


def _sockets_of(pids: Iterable[int]) -> set[int]:
    found: set[int] = set()
    refused: PermissionError | None = None
    read = False
    for pid in pids:
        try:
            found.update(procfs.sockets(pid).values())
            read = True
        except PermissionError as error:
            refused = error
    if refused and not read:
        raise refused
    return found


def _activities(listeners: list[Listener]) -> Iterator[tuple[int, Activity]]:
    for family, port in sorted(
        {(x.socket.family, x.address.port) for x in listeners if x.address.port}
    ):
        for connection in sock_diag.tcp_connections(family, port):
            yield connection.inode, classify(connection)
    for listener in listeners:
        if listener.address.family is Family.UNIX:
            for inode in sock_diag.unix_connections(_sun_path(listener.socket)):
                if inode != listener.inode:
                    yield inode, Activity.BUSY


def _sun_path(listener: socket.socket) -> bytes:
    name = listener.getsockname()
    return name if isinstance(name, bytes) else os.fsencode(name)
