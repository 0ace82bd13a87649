"""Looks: connections by which a program finds out whether its own address is free.

Puma, Unicorn, php-fpm, CherryPy and many start scripts connect before they bind. By itself, such a
program would find nobody there. Here its predecessor would answer, or the accept queue.
"""

from __future__ import annotations

import os

from sockact.core import own_connects
from sockact.core.matching import Family
from sockact.handover import call_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set

    from sockact.core.matching import Address
    from sockact.handover.callers import Callers
    from sockact.kernel.sockets.listener import Listener


class Looks:
    """The answers to one generation. It finds a listener's address free until it has bound it."""

    def __init__(self, listeners: list[Listener], bound: Set[int], callers: Callers) -> None:
        """`bound` has the inodes of the listeners that the generation has bound."""
        self._starting = False
        self._bound = bound
        self._callers = callers
        self._addresses = [
            (listener.inode, call_arguments.canonical(listener.address)) for listener in listeners
        ]
        self._names = {_base_name(a) for _, a in self._addresses if a.family is Family.UNIX}

    def begin(self) -> None:
        """The generation is launched."""
        self._starting = True

    def end(self) -> None:
        """The generation has started: from now on it connects as a client."""
        self._starting = False

    @property
    def over(self) -> bool:
        """Whether the generation finds nothing free any more."""
        return not self._starting or all(inode in self._bound for inode, _ in self._addresses)

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
