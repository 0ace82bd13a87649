"""What a generation has bound to each listener, and whether another bind() is one too many.

The kernel sees one socket, whose bind() has long been done. It would refuse a second bind() of the
address while the first socket is open, and a search for a free port, or a port that serves as a
lock, relies on that.
"""

from __future__ import annotations

from sockact.core.matching import Family, conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.matching import Address, Traits

_REMEMBERED = 8
"""Number of binds that are kept for each listener. Beyond it, none is refused because of another.
"""


class _Bind:
    """One bind() that got the listener."""

    def __init__(self, address: Address, traits: Traits, pid: int, *, listens: bool) -> None:
        self.address = address
        self.traits = traits
        self.pid = pid
        self.listens = listens

    def excludes(self, address: Address, traits: Traits) -> bool:
        return conflict(self.address, self.traits, address, traits, listens=self.listens)


class Bound:
    """The binds of one generation. Listeners are named by their inodes."""

    def __init__(self, holds: Callable[[int, int | None], bool]) -> None:
        """`holds` returns whether a process has a listener open: (inode, pid; None: any of them)"""
        self._holds = holds
        self._binds: dict[int, list[_Bind]] = {}

    def add(self, inode: int, address: Address, traits: Traits, pid: int, *, listens: bool) -> bool:
        """Take note of a bind(). False if it has to fail with EADDRINUSE. `listens`: the socket
        counts as one that listens already, because its listen() will not be seen.
        """
        binds = self._binds.setdefault(inode, [])
        if any(bind.excludes(address, traits) for bind in binds):
            if self._holds(inode, None):
                return False
            binds.clear()
        if len(binds) < _REMEMBERED:
            binds.append(_Bind(address, traits, pid, listens=listens))
        return True

    def listen(self, inode: int, pid: int) -> bool:
        """Take note of a listen(). False if it has to fail with EADDRINUSE: both sockets had
        SO_REUSEADDR, so that both could be bound, but only one can listen.
        """
        binds = self._binds.get(inode, ())
        own = [bind for bind in binds if bind.pid == pid]
        for bind in binds:
            first = bind.listens and bind.pid != pid
            if first and any(bind.excludes(x.address, x.traits) for x in own if not x.listens):
                if self._holds(inode, bind.pid):
                    return False
        for bind in own or binds:  # A process that did not bind has inherited the socket.
            bind.listens = True
        return True

    def forget(self, inode: int) -> None:
        """The program has removed the socket file, so that another bind() finds the path free."""
        self._binds.pop(inode, None)

    def takes(self, wanted: Address) -> bool:
        """Whether an IPv6 socket of the generation takes the port of this IPv4 address, too."""
        return wanted.family is Family.INET and any(
            (bind.address.kind, bind.address.host, bind.address.port)
            == (wanted.kind, "::", wanted.port)
            and not bind.traits.only_ipv6
            for binds in self._binds.values()
            for bind in binds
        )
