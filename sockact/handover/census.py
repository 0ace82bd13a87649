"""Census: the connections of each generation, counted as busy, fresh or quiet.

One INET_DIAG dump of a listener's port serves all generations; the inode tells which of them holds
a connection. The kernel does not show the activity of a Unix connection, so an open one counts as
busy. Datagram sockets have no connections.

Counting thousands of connections is expensive. But a single connection that needs its generation is
enough to keep it (a witness), and looking at that one costs the same however many others there are.
"""

from __future__ import annotations

import os
import socket

from sockact.core.connections import USUAL, Activity, Connection, Rules, classify, quiet_in
from sockact.core.matching import Family, Kind
from sockact.core.record import asdict, dataclass, field
from sockact.kernel import procfs
from sockact.kernel.looks import Unavailable, apart, apart_for
from sockact.kernel.sockets import sock_diag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator
    from typing import Any

    from sockact.kernel.sockets.listener import Listener
    from sockact.kernel.sockets.sock_diag import UnixSocket

    # TCP: (family, port); Unix: (name, inode of the listener)
    _Queries = tuple[list[tuple[int, int]], list[tuple[bytes, int]]]
    # The fields of a Connection, or of a UnixSocket.
    _Fields = tuple[Any, ...]

_CONNECTIONS = "connections"
"""The group of looks at sockets: nobody knows before whose they are."""
_HELD = 3600.0
"""`Witness.quiet_in` of a connection that needs its generation until it is closed."""


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
    held: bool = False
    """It needs its generation although it is quiet."""

    def look(self, rules: Rules = USUAL) -> Witness | None:
        """The connection as it is now; None if it no longer needs its generation, by these rules.

        Raises OSError.
        """
        if isinstance(self.connection, sock_diag.UnixSocket):
            return self if _unix_is_open(self.connection.inode, self.connection.cookie) else None
        fields = _tcp_connection(self.family, self.connection.identity)
        if fields is None:
            return None
        found = Connection(*fields)
        if self.held:
            return Witness(self.family, found, self.quiet_in, held=True)
        if classify(found, rules) is Activity.QUIET:
            return None
        return Witness(self.family, found, quiet_in(found, rules))


@dataclass
class FullCount:
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
    moved: Collection[int] = (),
) -> dict[int, Counts] | None:
    """Count the connections: generation → counts, from generation → pids.

    `rules` returns the rules for the connections of a generation; `moved` are inodes of those that
    are another generation's although it has them.
    Returns None if no listener has connections. A process that may not be read (a set-user-ID
    helper) is left out, and so is a generation that cannot be looked at now, unless there is no
    other. Raises OSError if the kernel has no sock_diag, refuses it, or cannot tell at this moment,
    and PermissionError if no process of a generation may be read.
    """
    streams = _streams(listeners)
    if not streams:
        return None
    owners: dict[int, int] = {}
    counted = []
    failed: Unavailable | None = None
    for number, pids in generations.items():
        try:
            held = _held([*pids])
        except Unavailable as error:
            failed = error
            continue
        counted.append(number)
        owners.update((inode, number) for inodes, _epolls in held.values() for inode in inodes)
    if failed and not counted:
        raise failed
    own_rules = {number: _fields_of(rules(number)) for number in counted}
    for inode in moved:
        owners.pop(inode, None)
    found = _tally(_queries(streams), owners, own_rules)
    return {number: Counts(*counts) for number, counts in found.items()}


@apart_for(_CONNECTIONS)
def _tally(
    queries: _Queries, owners: dict[int, int], rules: dict[int, tuple[float, bool]]
) -> dict[int, tuple[int, int, int]]:
    counts = {number: Counts() for number in rules}
    own_rules = {number: Rules(*fields) for number, fields in rules.items()}
    for _family, connection in _connections(queries, owners):
        number = owners[connection.inode]
        counts[number].add(_activity(connection, own_rules[number]))
    return {number: (x.busy, x.fresh, x.quiet) for number, x in counts.items()}


def count_fully(
    pids: Iterable[int],
    listeners: list[Listener],
    rules: Rules = USUAL,
    upgraded: Collection[int] = (),
    moved: Collection[int] = (),
) -> FullCount:
    """Count the connections of one generation. Raises OSError as `count` does.

    `upgraded` are inodes of connections that need it even if they are quiet, `moved` of those that
    are another generation's although it has them.
    """
    held = _held([*pids])
    inodes = {listener.inode for listener in listeners}
    found = FullCount(holders={pid: its[1] for pid, its in held.items() if inodes & its[0]})
    owned = {inode for inodes, _epolls in held.values() for inode in inodes} - {*moved}
    queries = _queries(_streams(listeners))
    counts, witnesses = _survey(queries, owned, _fields_of(rules), {*upgraded})
    found.counts = Counts(*counts)
    for family, fields, due, stays in witnesses:
        kind = sock_diag.UnixSocket if family == socket.AF_UNIX else Connection
        found.witnesses.append(Witness(family, kind(*fields), due, held=stays))
    # The kernel's own order is that of a hash table.
    found.witnesses.sort(key=lambda witness: witness.quiet_in)
    return found


@apart_for(_CONNECTIONS)
def _survey(
    queries: _Queries, owned: set[int], rule: tuple[float, bool], upgraded: set[int]
) -> tuple[tuple[int, int, int], list[tuple[int, _Fields, float, bool]]]:
    """Return the counts, and (family, fields, Witness.quiet_in, Witness.held) of the witnesses."""
    rules = Rules(*rule)
    counts = Counts()
    witnesses = []
    for family, connection in _connections(queries, owned):
        activity = _activity(connection, rules)
        stays = activity is Activity.QUIET and connection.inode in upgraded
        counts.add(Activity.BUSY if stays else activity)
        if stays:
            witnesses.append((family, _fields_of(connection), _HELD, True))
        elif activity is not Activity.QUIET:
            due = _quiet_in(connection, rules)
            witnesses.append((family, _fields_of(connection), due, False))
    return (counts.busy, counts.fresh, counts.quiet), witnesses


@apart_for(_CONNECTIONS)
def _tcp_connection(family: int, identity: bytes) -> _Fields | None:
    found = sock_diag.tcp_connection(family, identity)
    return _fields_of(found) if found else None


@apart_for(_CONNECTIONS)
def _unix_is_open(inode: int, cookie: bytes) -> bool:
    return sock_diag.unix_is_open(sock_diag.UnixSocket(inode, cookie))


def _streams(listeners: list[Listener]) -> list[Listener]:
    return [listener for listener in listeners if listener.address.kind is Kind.STREAM]


def _queries(listeners: list[Listener]) -> _Queries:
    """What to ask the kernel for: the connections of which listeners."""
    ports = {(int(x.socket.family), x.address.port) for x in listeners if x.address.port}
    unix = [x for x in listeners if x.address.family is Family.UNIX]
    return sorted(ports), [(_sun_path(x.socket), x.inode) for x in unix]


@apart
def _held(pids: list[int]) -> dict[int, tuple[set[int], list[int]]]:
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
    queries: _Queries, owned: Container[int]
) -> Iterator[tuple[int, Connection | UnixSocket]]:
    """(family, connection) of the connections whose inode is in `owned`."""
    for family, port in queries[0]:
        for connection in sock_diag.tcp_connections(family, port, owned):
            yield family, connection
    for name, listener in queries[1]:
        for found in sock_diag.unix_connections(name):
            if found.inode != listener and found.inode in owned:
                yield socket.AF_UNIX, found


def _fields_of(record: Any) -> tuple[Any, ...]:
    return tuple(asdict(record).values())


def _sun_path(listener: socket.socket) -> bytes:
    name = listener.getsockname()
    return name if isinstance(name, bytes) else os.fsencode(name)
