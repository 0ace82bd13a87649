"""Adopt: the program's own bind() and listen() end up on a listener of the service.

The seccomp filter stops the program in bind, listen, shutdown and, if there is a Unix listener, in
unlink and symlink. The supervisor reads the address from the program's memory, puts the listener in
place of the program's descriptor, and lets the call succeed. Calls that concern no listener are
left to the kernel. Those that cannot be looked at for want of descriptors or memory fail with that
error: the kernel would find the address in use, or remove a socket file.

Where seccomp cannot be used, the shim asks by `Adoption.ask`.
"""

from __future__ import annotations

import errno
import os
import socket
from functools import partial

from sockact.core.matching import (
    Address,
    Adopted,
    Denied,
    Family,
    Kind,
    Refused,
    Unmatched,
    beside,
    match,
)
from sockact.handover import listener_changes
from sockact.handover.adoption import call_arguments, own_socket
from sockact.handover.adoption.bound import Bound
from sockact.handover.adoption.callers import shares_mounts
from sockact.handover.adoption.lock_files import lock_paths
from sockact.handover.adoption.own_connects import OwnConnects
from sockact.handover.adoption.own_socket import Replacement
from sockact.kernel import looks, procfs, seccomp
from sockact.kernel.seccomp import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.matching import Traits
    from sockact.core.settings import Settings
    from sockact.handover.adoption.callers import Callers
    from sockact.handover.adoption.lock_files import LockFiles
    from sockact.handover.adoption.own_socket import OwnSocket
    from sockact.handover.delivery.accepts import Accepts
    from sockact.kernel.seccomp import Notification
    from sockact.kernel.sockets.listener import Listener

_SHUTS_READING = (socket.SHUT_RD, socket.SHUT_RDWR)
_SPARED = (Call.LISTEN, Call.SHUTDOWN, Call.UNLINK, Call.UNLINKAT)
"""Calls that are not carried out on a listener, because that would harm other generations."""
_REMEMBERED = 8
"""Number of addresses without a listener that are kept for messages."""
_MOST_REPLACED = 64


class Adoption:
    """The binds of one generation, and the answers to its system calls."""

    def __init__(self, listeners: list[Listener], callers: Callers, locks: LockFiles) -> None:
        """`locks` are the service's. Raises Unavailable."""
        self._listeners = listeners
        self._callers = callers
        self._locks = locks
        with looks.charged("paths"):
            self._addresses = tuple(call_arguments.canonical(x.address) for x in listeners)
        self._inodes = {listener.inode for listener in listeners}
        self._paths = {address.host for address in self._addresses if address.is_file}
        self._lock_paths = lock_paths(self._paths)
        names = map(os.path.basename, self._paths | self._lock_paths)
        self._names = set(map(os.fsencode, names))
        self.adopted: set[int] = set()
        """Inodes of the listeners that the program has bound."""
        self.others: list[Address] = []
        """The first few addresses that it bound and that have no listener."""
        self.unlisted: list[Address] = []
        """The first few of these that it bound with SO_REUSEPORT: each generation has a queue of
        its own there, and loses it with the connections in it."""
        self.refusal = ""
        """Why the last refused bind was refused, and what to change."""
        self.blind = ""
        """Why a bind could not be looked at."""
        self.own_connects = OwnConnects(listeners, self._addresses, self.adopted, callers)
        """Its connections to the listeners that it has not bound."""
        self.shut: set[int] = set()
        """Inodes of the listeners that the program has called shutdown() on, without effect."""
        self.options = listener_changes.Options(listeners)
        """Those that it sets on the listeners."""
        self._bound = Bound(callers.hold)
        self.late: Replacement | None = None
        """What is to be tried again, because its thread got no CPU."""
        self._accepts: Accepts | None = None
        # Inode of a socket whose descriptor was replaced → its listener.
        self._replaced: dict[int, Listener] = {}

    @property
    def stranger(self) -> str:
        """The last process that got no listener for its bind(), and why; "" if there was none."""
        return self._callers.stranger

    def connects(self, settings: Settings) -> frozenset[int]:
        """Of connect, which calls the seccomp filter has to notify: see seccomp.install."""
        return self.own_connects.lengths(settings)

    def may_have_looked(self, settings: Settings) -> bool:
        """Whether a program that has ended may have found an address in use by connect()."""
        bound = self.adopted or self.others or self.refusal or self.blind or self.stranger
        return not (bound or self.connects(settings))

    @property
    def calls(self) -> set[Call]:
        """The system calls that the seccomp filter has to notify in any case."""
        found = {Call.BIND, Call.LISTEN, Call.SHUTDOWN}
        if self._paths:
            found |= {Call.UNLINK, Call.UNLINKAT, Call.SYMLINK, Call.SYMLINKAT}
        return found

    @property
    def paths(self) -> tuple[str, ...]:
        """The socket files of Unix listeners, which the program must not remove."""
        return tuple(sorted(self._paths))

    def ask(self, wanted: Address, pid: int, queue: int | None) -> Listener | Denied | None:
        """The listener for this address, why the bind fails, or None: the kernel binds.

        The shim of a process asks. The process's own socket comes with the next message in our
        socket `queue`; None if it only asks. Raises OSError.
        """
        own = None if queue is None else own_socket.take(pid, queue)
        return self._find(wanted, pid, own, asked=True)

    def _find(
        self, wanted: Address, tid: int, own: OwnSocket | None, *, asked: bool = False
    ) -> Listener | Denied | None:
        """As `ask`, with its own socket (None: unknown). `asked`: the shim tells of no listen()."""
        # A socket that is a listener already is not bound a second time.
        new = own if own is not None and own.inode not in self._inodes else None
        traits, changes = (new.traits, new.changes) if new is not None else (None, None)
        wanted = call_arguments.canonical(wanted)
        takes_ipv4 = traits is not None and not traits.only_ipv6
        found = match(wanted, self._addresses, takes_ipv4=takes_ipv4)
        if not (isinstance(found, Unmatched) or self._callers.admit(tid, wanted, own)):
            return None
        match found:
            case Adopted(index):
                listener = self._listeners[index]
                if new is not None and not self._bound.add(
                    listener.inode, wanted, new.traits, new.pid, listens=asked
                ):
                    return Denied(errno.EADDRINUSE)
                self.options.give(listener, changes)
                self.adopted.add(listener.inode)
                return listener
            case Refused(message):
                if self.takes(wanted):
                    return Denied(errno.EADDRINUSE)
                bound = (x.address for x in self._listeners if x.inode in self.adopted)
                self.refusal = beside(wanted, bound) or message
                # The kernel's own error where the address family is not configured.
                return Denied(errno.EADDRNOTAVAIL, self.refusal)
            case Unmatched():
                self._leave(wanted, traits)
                return None

    def takes(self, wanted: Address) -> bool:
        """Whether an IPv6 socket of the generation takes the port of this IPv4 address, too."""
        return self._bound.takes(wanted)

    def _leave(self, wanted: Address, traits: Traits | None) -> None:
        """Remember an address that has no listener."""
        # Port 0 is any free port, for the program's own use (the shim's decoys, say).
        if not (wanted.port or wanted.family is Family.UNIX):
            return
        if wanted not in self.others and len(self.others) < _REMEMBERED:
            self.others.append(wanted)
        lost = traits is not None and traits.reuse_port and wanted.kind is Kind.STREAM
        if lost and wanted not in self.unlisted and len(self.unlisted) < _REMEMBERED:
            self.unlisted.append(wanted)

    def accept_by(self, accepts: Accepts) -> None:
        """Have the accepts of deliveries answered, from the first one on."""
        self._accepts = accepts

    def handle(self, fd: int) -> Call | None:
        """Answer the next notification of this generation's filter; return the call, or None if its
        thread was killed. Raises OSError.
        """
        notification = seccomp.receive(fd)
        if notification is None:
            return None
        self._answer(fd, notification, partial(self._dispatch, fd, notification))
        return notification.call

    def try_again(self) -> bool:
        """Go on with the call that is `late`; return whether that has ended."""
        late, self.late = self.late, None
        if late is not None and seccomp.still_valid(late.fd, late.notification):
            self._answer(late.fd, late.notification, partial(self._put, late))
        return self.late is None

    def _answer(self, fd: int, notification: Notification, act: Callable[[], None]) -> None:
        """Do what answers a call; if that fails, answer it accordingly."""
        try:
            act()
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and looks.is_for_want(error):
                self._fail(fd, notification, error)
            elif isinstance(error, looks.Blocked) and notification.call in _SPARED:
                # It might be a listener, or its file, which the other generations have, too.
                seccomp.answer(fd, notification, errno.EBUSY)
            else:
                # Unreadable or invalid arguments: the kernel returns the right error. A process
                # that keeps us from looking at its other calls harms itself only.
                if not self.blind and seccomp.still_valid(fd, notification):
                    self._note_blind(notification, error)
                seccomp.proceed(fd, notification)
        except Exception:
            seccomp.proceed(fd, notification)  # A thread without an answer would wait for ever.
            raise

    def _fail(self, fd: int, notification: Notification, error: OSError) -> None:
        """Let a call fail that could not be looked at at this moment."""
        number = error.errno or errno.ENOMEM
        why = f"{os.strerror(number)}; free descriptors, memory or processes"
        self._note_blind(notification, why)
        seccomp.answer(fd, notification, number)

    def _note_blind(self, notification: Notification, error: object) -> None:
        """Remember why a bind() could not be looked at: the kernel may find the address in use."""
        if notification.call is Call.BIND:
            what = f"process {notification.tid} called bind(), and sockact could not look at it"
            self.blind = f"{what}: {error}"

    def _dispatch(self, fd: int, notification: Notification) -> None:
        match notification.call:
            case Call.BIND:
                self._bind(fd, notification)
            case Call.CONNECT:
                self.own_connects.handle(fd, notification)
            case Call.LISTEN:
                self._listen(fd, notification)
            case Call.SHUTDOWN:
                self._shutdown(fd, notification)
            case _:
                _reply(fd, notification, succeed=self._spare(fd, notification))

    def _listen(self, fd: int, notification: Notification) -> None:
        tid, target = notification.tid, notification.arguments[0] & 0xFFFFFFFF
        inode = procfs.socket_inode(tid, target) or 0
        found = self._replaced.get(inode)
        if found is not None:
            # Another process, such as authbind's helper, has bound this socket.
            own = own_socket.look(tid, target)
            if not seccomp.still_valid(fd, notification):
                seccomp.proceed(fd, notification)
                return
            self.options.give(found, None if own is None else own.changes)
            listens = partial(self._listens, found.inode, tid)
            self._put(Replacement(fd, notification, target, own, found, listens))
        elif inode in self._inodes:
            seccomp.answer(fd, notification, self._listens(inode, tid))
        else:
            seccomp.proceed(fd, notification)

    def _listens(self, inode: int, tid: int) -> int:
        """The error of a listen() on a listener, or 0: it listens already, with the .socket unit's
        Backlog=.
        """
        free = self._bound.listen(inode, procfs.thread_group(tid))
        return 0 if free else errno.EADDRINUSE

    def _shutdown(self, fd: int, notification: Notification) -> None:
        """Ignore a shutdown of a listener, which would end it for all generations."""
        target, how = (argument & 0xFFFFFFFF for argument in notification.arguments[:2])
        inode = procfs.socket_inode(notification.tid, target) if how in _SHUTS_READING else None
        if inode in self._inodes:
            self.shut.add(inode)
        _reply(fd, notification, succeed=inode in self._inodes)

    def _spare(self, fd: int, notification: Notification) -> bool:
        """Whether to leave a file alone that the program removes or makes: the socket file of a
        listener, or its lock.
        """
        found = call_arguments.changed_path(notification, self._names)
        if found not in self._paths | self._lock_paths:
            return False
        if not shares_mounts(notification.tid) or not seccomp.still_valid(fd, notification):
            return False
        makes = notification.call in (Call.SYMLINK, Call.SYMLINKAT)
        if found in self._lock_paths:
            if not self._callers.knows(notification.tid):
                return False
            pid = procfs.thread_group(notification.tid)
            return (self._locks.made if makes else self._locks.removed)(found, pid)
        if makes or found not in self._paths:
            return False
        for listener, address in zip(self._listeners, self._addresses, strict=True):
            if address.host == found:
                self._bound.forget(listener.inode)
        return True

    def _bind(self, fd: int, notification: Notification) -> None:
        if self._accepts is not None and self._accepts.answer(fd, notification):
            return
        tid, target = notification.tid, notification.arguments[0] & 0xFFFFFFFF
        try:
            wanted = call_arguments.socket_address(notification)
        except PermissionError:
            self.blind = own_socket.explain_unreadable(tid)
            raise
        own = None if wanted is None else own_socket.look(tid, target)
        if wanted is None or not seccomp.still_valid(fd, notification):
            seccomp.proceed(fd, notification)
            return
        found = self._find(wanted, tid, own)
        if isinstance(found, Denied):
            seccomp.answer(fd, notification, found.error)
        elif found is None:
            seccomp.proceed(fd, notification)
        else:
            bound = partial(self._remember, own, found)
            self._put(Replacement(fd, notification, target, own, found, bound))

    def _put(self, replacement: Replacement) -> None:
        """Put a listener in place of a descriptor, and answer the call; perhaps not at once."""
        try:
            replacement.attempt()
        except seccomp.Late:
            self.late = replacement

    def _remember(self, own: OwnSocket | None, found: Listener) -> int:
        """Remember a socket that other processes may have, too: they get the listener later. 0: the
        bind() has succeeded.
        """
        if own is not None and found.address.kind is Kind.STREAM:
            if len(self._replaced) >= _MOST_REPLACED:
                del self._replaced[next(iter(self._replaced))]
            self._replaced[own.inode] = found
        return 0


def _reply(fd: int, notification: Notification, *, succeed: bool) -> None:
    if succeed:
        seccomp.answer(fd, notification)
    else:
        seccomp.proceed(fd, notification)
