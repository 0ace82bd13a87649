"""The program's own socket, which adoption replaces: its options and its epoll entries.

The kernel replaces it only once its thread runs. A program can keep a thread from that for long (a
low priority on a busy CPU), or an overloaded machine does, so a replacement can be tried again.

A program may put its socket into epoll before it binds. Such an entry belongs to the open file, so
it has to be made anew for the listener, with the same events and data.

A process can hold the lock of its socket for ever, as that of an epoll instance (looks.py). So the
socket is duplicated, read and closed in another process.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from sockact.core.matching import Traits
from sockact.core.record import asdict, dataclass, replace
from sockact.handover import gate
from sockact.handover.gate import Entry
from sockact.kernel import credentials, looks, pidfd, procfs, seccomp
from sockact.kernel.looks import Unavailable, apart
from sockact.kernel.sockets import received, sockopt
from sockact.kernel.sockets.listener import set_nonblocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockact.kernel.seccomp import Notification
    from sockact.kernel.sockets.listener import Listener
    from sockact.kernel.sockets.sockopt import Change

    # (pid, inode, its network is the supervisor's, its traits, changes)
    _Plain = tuple[int, int, bool, tuple[bool, bool, bool], tuple[Change, ...]]


@dataclass(frozen=True)
class OwnSocket:
    """What the kernel tells of a program's own socket."""

    pid: int
    """Of the process that has asked with it."""
    inode: int
    here: bool
    """False if it is of another network namespace than the supervisor."""
    traits: Traits
    changes: tuple[Change, ...]
    """The options that the program has set on it."""


@dataclass(frozen=True)
class Replacement:
    """A listener that takes the place of a program's socket, for a call that waits meanwhile."""

    fd: int
    """Of the notifications."""
    notification: Notification
    target: int
    """The program's descriptor."""
    own: OwnSocket | None
    listener: Listener
    answer: Callable[[], int]
    """Called once it is in place; returns the error of the call, or 0."""

    def attempt(self) -> None:
        """Replace the socket, and answer. Raises OSError; seccomp.Late: nothing has changed."""
        inode = None if self.own is None else self.own.inode
        flags, watched = place(self.notification.tid, self.target, inode)
        if flags & os.O_NONBLOCK:
            # Never cleared: another generation may rely on it.
            set_nonblocking(self.listener)
        source, cloexec = self.listener.socket.fileno(), bool(flags & os.O_CLOEXEC)
        with rewatched(watched, self.listener):
            # A signal may have withdrawn the call, before Linux 5.19.
            seccomp.put_fd(self.fd, self.notification, source, self.target, cloexec=cloexec)
        seccomp.answer(self.fd, self.notification, self.answer())


def look(tid: int, fd: int) -> OwnSocket | None:
    """The socket at a descriptor of a thread; None if pidfd_getfd is refused, or if it is no
    socket. Raises Unavailable.
    """
    if looks.is_begun():
        return _own(_of_thread(tid, fd))
    copy = _duplicate(tid, fd)  # Only a process above the program may have it, under Yama.
    if copy is None:
        return None
    try:
        return _own(looks.in_fork_or_here(tid, _of_copy, [copy], tid, copy))
    finally:
        os.close(copy)


def take(pid: int, queue: int) -> OwnSocket | None:
    """The socket of a process that comes with the next message in our socket `queue`; None if none
    comes. Raises OSError.
    """
    return _own(looks.in_fork_or_here(pid, _of_queue, [queue], pid, queue))


def place(tid: int, fd: int, inode: int | None) -> tuple[int, list[Entry]]:
    """The open flags of a descriptor, and the entries of its socket at this descriptor in the epoll
    instances of the process: none if they cannot be read, or without `inode`. Raises OSError.
    """
    flags, entries = _place(tid, fd, inode)
    return flags, [Entry(*entry) for entry in entries]


@contextlib.contextmanager
def rewatched(found: list[Entry], listener: Listener) -> Iterator[None]:
    """Move these entries to the listener, which gets the socket's descriptor inside of this
    context; if that fails, they are the socket's as before. Raises Unavailable.
    """
    watched = _unwatch(found)
    try:
        yield
    except OSError:
        _watch(watched, {})
        raise
    moved = [replace(entry, inode=listener.inode) for entry in watched]
    _watch(moved, {listener.inode: listener.socket.fileno()})


def _unwatch(found: list[Entry]) -> list[Entry]:
    """Remove these entries. Return them; an empty list if that is refused."""
    try:
        return [] if gate.close(found, {}) else found
    except gate.GateRefused as error:
        _raise_unavailable(error)
        return []


def _watch(entries: list[Entry], listeners: dict[int, int]) -> None:
    try:
        gate.open(entries, listeners)
    except gate.GateRefused as error:
        _raise_unavailable(error)  # Else the process has ended.


def explain_unreadable(tid: int) -> str:
    """Why the socket of a thread cannot be looked at, and what to change."""
    try:
        user = f"user {_user(tid)}"
    except OSError:
        user = "another user"
    return (
        f"process {tid} of {user} called bind(), and sockact may not read it; set User= to that "
        f"user in the unit, or add CAP_SYS_PTRACE to CapabilityBoundingSet="
    )


def _raise_unavailable(error: gate.GateRefused) -> None:
    if isinstance(error.__cause__, Unavailable):
        raise error.__cause__


def _own(found: _Plain | None) -> OwnSocket | None:
    if found is None:
        return None
    pid, inode, here, traits, changes = found
    return OwnSocket(pid, inode, here, Traits(*traits), tuple(changes))


@apart
def _place(tid: int, fd: int, inode: int | None) -> tuple[int, list[tuple[int, ...]]]:
    pid, flags = procfs.thread_group(tid), procfs.descriptor_flags(tid, fd)
    try:
        found = [] if inode is None else gate.entries([pid], {inode})
    except Unavailable:
        raise
    except OSError:
        found = []
    return flags, [tuple(asdict(entry).values()) for entry in found if entry.fd == fd]


@apart
def _user(tid: int) -> int:
    return os.stat(f"/proc/{tid}").st_uid


@apart
def _of_queue(pid: int, queue: int) -> _Plain | None:
    with socket.socket(fileno=os.dup(queue)) as sock:
        fds = received.receive(sock, 1)[1]
    try:
        return _read(pid, fds[0]) if fds else None
    finally:
        received.close(fds)


@apart
def _of_thread(tid: int, fd: int) -> _Plain | None:
    copy = _duplicate(tid, fd)
    if copy is None:
        return None
    try:
        return _read(tid, copy)
    finally:
        os.close(copy)


@apart
def _of_copy(tid: int, copy: int) -> _Plain | None:
    return _read(tid, copy)


def _read(tid: int, copy: int) -> _Plain | None:
    status = os.fstat(copy)
    if not stat.S_ISSOCK(status.st_mode):
        return None  # The descriptor was replaced meanwhile.
    with socket.socket(fileno=os.dup(copy)) as own:
        traits = sockopt.traits(own)
        changes = sockopt.changed(own)
        here = credentials.shares_network(own) is not False
        try:
            own.getpeername()
        except OSError:
            pass  # It has no connection, so that its SO_LINGER has no effect on closing it.
        else:
            received.do_not_linger(own)
    return (
        procfs.thread_group(tid),
        status.st_ino,
        here,
        (traits.only_ipv6, traits.reuse_address, traits.reuse_port),
        changes,
    )


def _duplicate(tid: int, fd: int) -> int | None:
    try:
        return pidfd.getfd(procfs.thread_group(tid), fd)
    except OSError as error:
        if isinstance(found := looks.as_unavailable(error), Unavailable):
            raise found from None
        return None
