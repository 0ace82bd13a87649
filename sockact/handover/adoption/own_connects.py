"""Own connects: connections by which a program finds out whether its own address is free.

Puma, Unicorn, php-fpm, CherryPy and many start scripts connect to their address before they bind
it. Without sockact, that connection is refused. Under sockact, the predecessor would accept it, or
it would wait in the accept queue.
"""

from __future__ import annotations

import errno
import os

from sockact.core import own_connects
from sockact.core.matching import Family
from sockact.core.settings import Adopt
from sockact.handover.adoption import call_arguments
from sockact.kernel import seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from sockact.core.matching import Address
    from sockact.core.settings import Settings
    from sockact.handover.adoption.callers import Callers
    from sockact.kernel.seccomp import Notification
    from sockact.kernel.sockets.listener import Listener


class OwnConnects:
    """The answers to one generation: the address of a listener is free until it has bound it."""

    def __init__(
        self,
        listeners: list[Listener],
        addresses: Sequence[Address],
        bound: Set[int],
        callers: Callers,
    ) -> None:
        """`addresses` are those of the listeners, canonical. `bound` has the inodes of the
        listeners that the generation has bound.
        """
        self._starting = False
        self._bound = bound
        self._callers = callers
        inodes = [listener.inode for listener in listeners]
        self._addresses = list(zip(inodes, addresses, strict=True))
        self._names = {_base_name(a) for _, a in self._addresses if a.family is Family.UNIX}

    def lengths(self, settings: Settings) -> frozenset[int]:
        """Which calls of connect the seccomp filter has to notify: see seccomp.install."""
        addresses = [address for _, address in self._addresses]
        if settings.adopt is Adopt.SECCOMP_CONNECT:
            return own_connects.lengths(addresses)
        if settings.adopt is Adopt.AUTO:
            return own_connects.known_lengths(settings.command, addresses)
        return frozenset()

    def begin(self) -> None:
        """The generation is launched."""
        self._starting = True

    def end(self) -> None:
        """The generation has started: from now on it connects as a client."""
        self._starting = False

    @property
    def over(self) -> bool:
        """Whether no address of a listener is free any more."""
        return not self._starting or all(inode in self._bound for inode, _ in self._addresses)

    def answer(self, wanted: Address, pid: int) -> bool | None:
        """`finds_free` for the shim of a process; None: the shim need not ask again.

        Raises OSError.
        """
        return None if self.over else self.finds_free(wanted, pid)

    def handle(self, fd: int, notification: Notification) -> None:
        """Refuse a notified connection to a listener that the program has not bound yet; leave
        others to the kernel. Raises OSError, ValueError.
        """
        wanted = None if self.over else call_arguments.socket_address(notification)
        free = wanted is not None and self.finds_free(wanted, notification.tid)
        if free and seccomp.still_valid(fd, notification):
            seccomp.answer(fd, notification, errno.ECONNREFUSED)
        else:
            seccomp.proceed(fd, notification)

    def finds_free(self, wanted: Address, tid: int) -> bool:
        """Whether a connection of this thread has to be refused. Raises OSError."""
        if self.over:
            return False
        if wanted.family is Family.UNIX:
            # Resolve only paths that end in the name of a listener.
            if _base_name(wanted) not in self._names:
                return False
            wanted = call_arguments.canonical(wanted)
        own = any(
            own_connects.is_own(wanted, address)
            for inode, address in self._addresses
            if inode not in self._bound
        )
        return own and not self._callers.elsewhere(tid, wanted)


def _base_name(address: Address) -> str:
    return os.path.basename(address.host)
