"""Callers: which processes of a generation get a listener for their bind(). See docs/adopt.md.

Whatever descends from the program could ask: a job that runs as another user, or in a sandbox. Only
a process that the kernel could have given the address to, too, gets the listener: one in the
supervisor's network namespace, and for a socket file in its mount namespace, and of a user that the
program's first process has, or had at an earlier bind().
"""

from __future__ import annotations

import os

from sockact.core.matching import Family
from sockact.kernel import credentials, procfs
from sockact.kernel.credentials import MOUNT, NETWORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockact.core.matching import Address

_MOST_USERS = 64
ELSEWHERE = "in another network namespace"


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

    def admit(self, tid: int, wanted: Address, *, shows: bool = False) -> bool:
        """Whether this thread gets the listener of the address. `shows`: its own socket will be
        seen, whatever the kernel says of the thread. Raises OSError.
        """
        reason = self._elsewhere(tid, wanted, shows) or self._not_of_the_program(tid)
        if reason:
            self.refuse(tid, wanted, reason)
            return False
        self._launching = False
        return True

    def refuse(self, tid: int, wanted: Address, reason: str) -> None:
        """Take note that this thread does not get the listener. Raises OSError."""
        self.stranger = f"process {procfs.thread_group(tid)} bound {wanted}, but {reason}"

    def _elsewhere(self, tid: int, wanted: Address, shows: bool) -> str:
        """Return why the address that the thread means is another one; "" if it is not."""
        try:
            network = credentials.shares_namespace(tid, NETWORK)
            mounts = not _is_path(wanted) or credentials.shares_namespace(tid, MOUNT)
        except PermissionError:
            # After a change of user, without CAP_SYS_PTRACE: only the shim gets here.
            network, mounts = shows, not _is_path(wanted)
        if not network:
            return ELSEWHERE
        return "" if mounts else "in another mount namespace"

    def _not_of_the_program(self, tid: int) -> str:
        """Return why the thread's user is none of the program's; "" if it is one."""
        first = self._first()
        if first is not None and len(self._users) < _MOST_USERS:
            self._users |= credentials.users(first)
        caller = credentials.users(tid)
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


def _is_path(address: Address) -> bool:
    return address.family is Family.UNIX and address.host[:1] == "/"
