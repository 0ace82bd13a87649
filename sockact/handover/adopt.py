"""Adopt: the program's own bind() and listen() end up on a listener of the service.

The seccomp filter stops the program in bind, listen, shutdown and, if there is a Unix listener, in
unlink. The supervisor reads the address from the program's memory, puts the listener in place of
the program's descriptor, and lets the call succeed. Calls that concern no listener are left to the
kernel.

Where seccomp cannot be used, the shim asks by `Adoption.bind`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from sockact.core.matching import Adopted, Family, Refused, Unmatched, match
from sockact.handover import arguments, options
from sockact.handover.callers import ELSEWHERE, shares_mounts
from sockact.kernel import looks, procfs, seccomp
from sockact.kernel.seccomp import Call
from sockact.kernel.sockets.listener import set_nonblocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.matching import Address
    from sockact.handover.callers import Callers
    from sockact.kernel.seccomp import Notification
    from sockact.kernel.sockets.listener import Listener
    from sockact.kernel.sockets.sockopt import Change, Option

_SHUTS_READING = (socket.SHUT_RD, socket.SHUT_RDWR)
_REMEMBERED = 8
"""Number of addresses without a listener that are kept for messages."""


def unavailable() -> str:
    """Why seccomp notification cannot be used here; "" if it can. Tries it in a child process."""
    if reason := seccomp.unavailable():
        return reason
    with socket.socket(socket.AF_UNIX) as found:
        if not procfs.socket_protocol(os.getpid(), found.fileno()):
            return "cannot read the protocol of a socket: allow getxattr(2) of /proc/PID/fd/N"
    try:
        pid = os.fork()
    except OSError as error:
        return f"cannot fork: {error.strerror}"
    if pid == 0:
        try:
            seccomp.install({Call.BIND})
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return f"cannot install a seccomp filter: {os.strerror(code)}" if code else ""


class Adoption:
    """The binds of one generation, and the answers to its system calls."""

    def __init__(self, listeners: list[Listener], callers: Callers) -> None:
        self._listeners = listeners
        self._callers = callers
        with looks.charged("paths"):
            self._addresses = tuple(arguments.canonical(x.address) for x in listeners)
        self._inodes = {listener.inode for listener in listeners}
        self._paths = {
            a.host for a in self._addresses if a.family is Family.UNIX and a.host[:1] == "/"
        }
        self._names = {os.fsencode(os.path.basename(path)) for path in self._paths}
        self._before: list[tuple[Listener, tuple[Option, ...]]] = []
        self._given: dict[int, tuple[Change, ...]] = {}
        self.adopted: set[int] = set()
        """Inodes of the listeners that the program has bound."""
        self.others: list[Address] = []
        """The first few addresses that it bound and that have no listener."""
        self.refusal = ""
        """Why the last refused bind was refused, and what to change."""
        self.shut: set[int] = set()
        """Inodes of the listeners that the program has called shutdown() on, without effect."""

    @property
    def stranger(self) -> str:
        """The last process that got no listener for its bind(), and why; "" if there was none."""
        return self._callers.stranger

    @property
    def calls(self) -> set[Call]:
        """The system calls that the seccomp filter has to notify."""
        calls = {Call.BIND, Call.LISTEN, Call.SHUTDOWN}
        return calls | {Call.UNLINK, Call.UNLINKAT} if self._paths else calls

    @property
    def paths(self) -> tuple[str, ...]:
        """The socket files of Unix listeners, which the program must not remove."""
        return tuple(sorted(self._paths))

    def bind(
        self, wanted: Address, tid: int, queue: int | None = None, fd: int | None = None
    ) -> Listener | str | None:
        """The listener for this address, the message of a refusal, or None: the kernel binds.

        `tid` is the thread that binds. Its socket is its descriptor `fd`, or comes with the next
        message in our socket `queue`: the listener gets its options. Raises OSError.
        """
        found = match(arguments.canonical(wanted), self._addresses)
        shows = queue is not None
        if not (isinstance(found, Unmatched) or self._callers.admit(tid, wanted, shows=shows)):
            return None
        match found:
            case Adopted(index):
                listener = self._listeners[index]
                changes = options.theirs(tid, fd, queue)
                if changes is None:
                    self._callers.refuse(tid, wanted, ELSEWHERE)
                    return None
                self._give(listener, changes)
                self.adopted.add(listener.inode)
                return listener
            case Refused(message):
                self.refusal = message
                return message
            case Unmatched():
                # Port 0 is any free port, for the program's own use (the shim's decoys, say).
                fixed = wanted.port or wanted.family is Family.UNIX
                if fixed and wanted not in self.others and len(self.others) < _REMEMBERED:
                    self.others.append(wanted)
                return None

    def _give(self, listener: Listener, changes: tuple[Change, ...]) -> None:
        """Give the listener the options of the program's own socket."""
        if listener.inode not in self.adopted:
            # Undo the options that other generations have set.
            self._before.append((listener, options.give(listener, changes, first=True)))
        elif changes != self._given.get(listener.inode):
            options.give(listener, changes, first=False)
        self._given[listener.inode] = changes

    def begin_all(self) -> None:
        """Give the program all listeners as they were at the start. Raises OSError."""
        for listener in self._listeners:
            self._before.append((listener, options.begin(listener)))

    def restore_options(self) -> None:
        """Set the options that were in force before this generation: it does not serve.

        If a process holds the lock of a listener, its options stay.
        """
        for listener, before in self._before:
            with contextlib.suppress(OSError):
                options.put_back(listener, before)
        self._before.clear()

    def handle(self, fd: int) -> Call | None:
        """Answer the next notification of this generation's notification fd.

        Returns the call, or None if its thread was killed. Raises OSError.
        """
        notification = seccomp.receive(fd)
        if notification is None:
            return None
        try:
            self._dispatch(fd, notification)
        except (OSError, ValueError):
            # Unreadable or invalid arguments: the kernel returns the right error.
            seccomp.proceed(fd, notification)
        except Exception:
            seccomp.proceed(fd, notification)  # A thread without an answer would wait for ever.
            raise
        return notification.call

    def _dispatch(self, fd: int, notification: Notification) -> None:
        match notification.call:
            case Call.BIND:
                self._bind(fd, notification)
            case Call.LISTEN:
                # The listener listens already, with the .socket unit's Backlog=.
                target = notification.arguments[0] & 0xFFFFFFFF
                inode = procfs.socket_inode(notification.tid, target)
                _reply(fd, notification, succeed=inode in self._inodes)
            case Call.SHUTDOWN:
                self._shutdown(fd, notification)
            case Call.UNLINK | Call.UNLINKAT:
                _reply(fd, notification, succeed=self._is_ours(fd, notification))

    def _shutdown(self, fd: int, notification: Notification) -> None:
        """Ignore a shutdown of a listener, which would end it for all generations."""
        target, how = (argument & 0xFFFFFFFF for argument in notification.arguments[:2])
        inode = procfs.socket_inode(notification.tid, target) if how in _SHUTS_READING else None
        if inode in self._inodes:
            self.shut.add(inode)
        _reply(fd, notification, succeed=inode in self._inodes)

    def _is_ours(self, fd: int, notification: Notification) -> bool:
        """Whether this unlink would remove the socket file of a listener."""
        tid = notification.tid
        found = arguments.of_unlink(tid, notification.call, notification.arguments, self._names)
        ours = found in self._paths and shares_mounts(tid)
        return ours and seccomp.still_valid(fd, notification)

    def _bind(self, fd: int, notification: Notification) -> None:
        tid, (target, pointer, length, *_) = notification.tid, notification.arguments
        target &= 0xFFFFFFFF
        asked = arguments.of_bind(tid, target, pointer, length & 0xFFFFFFFF)
        if asked is None or not seccomp.still_valid(fd, notification):
            seccomp.proceed(fd, notification)
            return
        wanted, flags = asked
        found = self.bind(wanted, tid, fd=target)
        if isinstance(found, str):
            # The kernel's own error where the address family is not configured.
            seccomp.answer(fd, notification, errno.EADDRNOTAVAIL)
        elif found is None:
            seccomp.proceed(fd, notification)
        else:
            if flags & os.O_NONBLOCK:
                # Never cleared: another generation may rely on it.
                set_nonblocking(found)
            source = found.socket.fileno()
            cloexec = bool(flags & os.O_CLOEXEC)
            seccomp.put_fd(fd, notification, source, target, cloexec=cloexec)
            seccomp.answer(fd, notification)


def _reply(fd: int, notification: Notification, *, succeed: bool) -> None:
    if succeed:
        seccomp.answer(fd, notification)
    else:
        seccomp.proceed(fd, notification)
