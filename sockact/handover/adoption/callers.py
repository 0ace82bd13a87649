"""Callers: which processes of a generation get a listener for their bind(). See docs/adopt.md.

Whatever descends from the program could ask: a job that runs as another user, or in a sandbox. Only
a process that the kernel could have given the address to, too, gets the listener: one in the
supervisor's network namespace, and for a socket file in its mount namespace, and of a user that the
program's first process has, or had at an earlier bind().
"""

from __future__ import annotations

import os

from sockact.kernel import credentials, procfs
from sockact.kernel.credentials import MOUNT, NETWORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockact.core.matching import Address
    from sockact.handover.adoption.own_socket import OwnSocket

_MOST_USERS = 64


class Callers:
    """The users of one generation, and the decision about each caller."""

    def __init__(
        self,
        first: Callable[[], int | None],
        living: Callable[[], list[int]],
        users: Iterable[int] = (),
        *,
        launching: bool = True,
    ) -> None:
        """`first` returns the first process, `living` all processes of the generation. `users` are
        those that are known from before. `launching`: it has not bound a listener yet.
        """
        self.stranger = ""
        """The last process that got no listener, and why, for a message to the operator."""
        self._first = first
        self._living = living
        # The first process begins as the supervisor's user.
        self._users = {os.geteuid(), *users}
        self._launching = launching

    def users(self) -> tuple[int, ...]:
        """Return the users that the first process has had, for the version that takes over."""
        return tuple(sorted(self._users))

    def hold(self, inode: int, pid: int | None = None) -> bool:
        """Whether this process has the socket with this inode, or without `pid` any process of the
        generation. One that cannot be read does not count. Raises Unavailable.
        """
        for one in self._living() if pid is None else (pid,):
            try:
                if inode in procfs.sockets(one).values():
                    return True
            except procfs.Unavailable:
                raise
            except OSError:
                continue
        return False

    def admit(self, tid: int, wanted: Address, own: OwnSocket | None = None) -> bool:
        """Whether this thread gets the listener of the address. `own` is its own socket, if known.

        Raises OSError.
        """
        reason = self.elsewhere(tid, wanted, own) or self._not_of_the_program(tid)
        if reason:
            self.stranger = f"process {procfs.thread_group(tid)} bound {wanted}, but {reason}"
            return False
        self._launching = False
        return True

    def knows(self, tid: int) -> bool:
        """Whether this thread's user is one of the program's. Raises OSError."""
        return not self._not_of_the_program(tid)

    def elsewhere(self, tid: int, wanted: Address, own: OwnSocket | None = None) -> str:
        """Return why the address that the thread means is another one; "" if it is not.

        Raises OSError.
        """
        try:
            network = credentials.shares_namespace(tid, NETWORK)
            mounts = not wanted.is_file or credentials.shares_namespace(tid, MOUNT)
        except PermissionError:
            # After a change of user, without CAP_SYS_PTRACE: only the shim gets here.
            network, mounts = own is not None, not wanted.is_file
        if not network or (own is not None and not own.here):
            return "in another network namespace"
        return "" if mounts else "in another mount namespace"

    def _not_of_the_program(self, tid: int) -> str:
        """Return why the thread's user is none of the program's; "" if it is one."""
        first = self._first()
        grow = first is not None and len(self._users) < _MOST_USERS
        caller, *more = credentials.users([tid, first] if first is not None and grow else [tid])
        self._users.update(*more)
        if caller & self._users:
            return ""
        if self._launching and self._is_launched(procfs.thread_group(tid)):
            self._users |= caller
            return ""
        names = ", ".join(map(str, sorted(self._users)))
        found = ", ".join(map(str, sorted(caller))) or "unknown"
        return f"as user {found}, and the program's first process ran as {names} only"

    def _is_launched(self, pid: int) -> bool:
        """Whether this process and those that launched it (su, runuser or sudo) are the whole
        generation.
        """
        chain = {pid}
        while pid > 1 and (process := procfs.process(pid)) and process.parent not in chain:
            pid = process.parent
            chain.add(pid)
        return os.getpid() in chain and chain.issuperset(self._living())


def shares_mounts(tid: int) -> bool:
    """Whether a path of this thread is the same file for the supervisor. Raises OSError."""
    return credentials.shares_namespace(tid, MOUNT)
