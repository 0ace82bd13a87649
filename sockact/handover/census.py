"""Census: the connections of each generation, counted as busy, fresh or quiet.

One INET_DIAG dump of a listener's port serves all generations; the inode tells which of them holds
a connection. The kernel does not show the activity of a Unix connection, so an open one counts as
busy. Datagram sockets have no connections.

Counting thousands of connections is expensive. But a single connection that needs its generation is
enough to keep it (a witness), and looking at that one costs the same however many others there are.
"""

from __future__ import annotations

import os

from sockact.core.connections import USUAL, Activity, classify, quiet_in
from sockact.core.matching import Family, Kind
from sockact.core.record import dataclass, field
from sockact.kernel import procfs
from sockact.kernel.sockets import sock_diag

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Container, Iterable, Iterator

    from sockact.core.connections import Connection, Rules
    from sockact.kernel.sockets.listener import Listener
    from sockact.kernel.sockets.sock_diag import UnixSocket


@dataclass
class Counts:
    """Numbers of connections of one generation."""

    busy: int = 0
    fresh: int = 0
    quiet: int = 0

    @property
    def total(self) -> int:
        return self.busy + self.fresh + self.quiet

    def add(self, activity: Activity) -> None:
        """Count one more connection."""
        setattr(self, activity.value, getattr(self, activity.value) + 1)


@dataclass(frozen=True, slots=True)
class Witness:
    """A connection that needed its generation when it was last looked at."""

    family: int
    connection: Connection | UnixSocket
    quiet_in: float
    """Seconds for which it cannot become quiet unless it is closed; 0 if it may at any time."""
    rules: Rules = USUAL

    def look(self) -> Witness | None:
        """The connection as it is now; None if it no longer needs its generation.

        Raises OSError.
        """
        if isinstance(self.connection, sock_diag.UnixSocket):
            return self if sock_diag.unix_is_open(self.connection) else None
        found = sock_diag.tcp_connection(self.family, self.connection.identity)
        if found is None or classify(found, self.rules) is Activity.QUIET:
            return None
        return Witness(self.family, found, quiet_in(found, self.rules), self.rules)


@dataclass
class Look:
    """All connections of one generation, at one moment."""

    counts: Counts = field(default_factory=Counts)
    witnesses: list[Witness] = field(default_factory=list)
    """The connections that need it; the last one will need it longest."""
    holders: dict[int, list[int]] = field(default_factory=dict)
    """Process that holds a listener → descriptors of its epoll instances."""


def count(
    generations: dict[int, Iterable[int]],
    listeners: list[Listener],
    rules: Callable[[int], Rules] = lambda _: USUAL,
) -> dict[int, Counts] | None:
    """Count the connections: generation → counts, from generation → pids.

    `rules` returns the rules for the connections of a generation.
    Returns None if no listener has connections. A process that may not be read (a set-user-ID
    helper) is left out. Raises OSError if the kernel has no sock_diag, refuses it, or cannot tell
    at this moment, and PermissionError if no process of a generation may be read.
    """
    streams = _streams(listeners)
    if not streams:
        return None
    owners = {
        inode: number
        for number, pids in generations.items()
        for held, _epolls in _held(pids).values()
        for inode in held
    }
    counts = {number: Counts() for number in generations}
    own_rules = {number: rules(number) for number in generations}
    for _family, connection in _connections(streams, owners):
        number = owners[connection.inode]
        counts[number].add(_activity(connection, own_rules[number]))
    return counts


def look(pids: Iterable[int], listeners: list[Listener], rules: Rules = USUAL) -> Look:
    """Look at one generation. Raises OSError as `count` does."""
    held = _held(pids)
    inodes = {listener.inode for listener in listeners}
    found = Look(holders={pid: its[1] for pid, its in held.items() if inodes & its[0]})
    owned = {inode for inodes, _epolls in held.values() for inode in inodes}
    for family, connection in _connections(_streams(listeners), owned):
        activity = _activity(connection, rules)
        found.counts.add(activity)
        if activity is Activity.QUIET:
            continue
        found.witnesses.append(Witness(family, connection, _quiet_in(connection, rules), rules))
    # The kernel's own order is that of a hash table.
    found.witnesses.sort(key=lambda witness: witness.quiet_in)
    return found


def _streams(listeners: list[Listener]) -> list[Listener]:
    return [listener for listener in listeners if listener.address.kind is Kind.STREAM]


def _held(pids: Iterable[int]) -> dict[int, tuple[set[int], list[int]]]:
    """Process → inodes of its sockets, and descriptors of its epoll instances."""
    found = {}
    refused: PermissionError | None = None
    for pid in pids:
        try:
            sockets, epolls = procfs.sockets_and_epolls(pid)
            found[pid] = {*sockets.values()}, epolls
        except PermissionError as error:
            refused = error
    if refused and not found:
        raise refused
    return found


def _activity(connection: Connection | UnixSocket, rules: Rules) -> Activity:
    if isinstance(connection, sock_diag.UnixSocket):
        return Activity.BUSY
    return classify(connection, rules)


def _quiet_in(connection: Connection | UnixSocket, rules: Rules) -> float:
    return 0.0 if isinstance(connection, sock_diag.UnixSocket) else quiet_in(connection, rules)


def _connections(
    listeners: list[Listener], owned: Container[int]
) -> Iterator[tuple[int, Connection | UnixSocket]]:
    """(family, connection) of the connections whose inode is in `owned`."""
    for family, port in sorted(
        {(x.socket.family, x.address.port) for x in listeners if x.address.port}
    ):
        for connection in sock_diag.tcp_connections(family, port, owned):
            yield family, connection
    for listener in listeners:
        if listener.address.family is Family.UNIX:
            for found in sock_diag.unix_connections(_sun_path(listener.socket)):
                if found.inode != listener.inode and found.inode in owned:
                    yield listener.socket.family, found


def _sun_path(listener: socket.socket) -> bytes:
    name = listener.getsockname()
    return name if isinstance(name, bytes) else os.fsencode(name)
