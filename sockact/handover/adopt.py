"""Adopt: the program's own bind() and listen() end up on a listener of the service.

The seccomp filter stops the program in bind, listen, shutdown and, if there is a Unix listener, in
unlink. The supervisor reads the address from the program's memory, puts the listener in place of
the program's descriptor, and lets the call succeed. Calls that concern no listener are left to the
kernel.

Where seccomp cannot be used, the shim asks by `Adoption.bind`.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from sockact.core.matching import Address, Adopted, Family, Kind, Refused, Unmatched, match
from sockact.handover.callers import shares_mounts
from sockact.kernel import credentials, pidfd, procfs, seccomp
from sockact.kernel.seccomp import Call
from sockact.kernel.sockets import received, sockopt
from sockact.kernel.sockets.listener import set_nonblocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.handover.callers import Callers
    from sockact.kernel.seccomp import Notification
    from sockact.kernel.sockets.listener import Listener

_PROTOCOLS = {
    "TCP": (Family.INET, Kind.STREAM),
    "TCPv6": (Family.INET6, Kind.STREAM),
    "MPTCP": (Family.INET, Kind.STREAM),
    "MPTCPv6": (Family.INET6, Kind.STREAM),
    "UDP": (Family.INET, Kind.DATAGRAM),
    "UDPv6": (Family.INET6, Kind.DATAGRAM),
    "UNIX-STREAM": (Family.UNIX, Kind.STREAM),
    # Before Linux 5.15 the kernel does not tell the types of Unix sockets apart.
    "UNIX": (Family.UNIX, Kind.STREAM),
}
# The lengths of an address that the kernel accepts; any other is EINVAL.
_LENGTHS = {
    Family.INET: range(16, 129),
    Family.INET6: range(24, 129),
    Family.UNIX: range(3, 111),
}
_PATH_MAX = 4096
_AT_FDCWD = -100
_AT_REMOVEDIR = 0x200
_SHUTS_READING = (socket.SHUT_RD, socket.SHUT_RDWR)
_REMEMBERED = 8
"""Number of addresses without a listener that are kept for messages."""


class Attempt:
    """Tries seccomp notification in a child process, which runs beside what its maker does next."""

    def __init__(self) -> None:
        self._pid = 0
        self._reason = _refused()
        if self._reason:
            return
        try:
            self._pid = os.fork()
        except OSError as error:
            self._reason = f"cannot fork: {error.strerror}"
            return
        if self._pid == 0:
            try:
                seccomp.install({Call.BIND})
                os._exit(0)
            except OSError as error:
                os._exit(error.errno or 1)

    def reason(self) -> str:
        """Wait for the child; return why seccomp notification cannot be used, "" if it can."""
        if self._pid:
            code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
            self._pid = 0
            self._reason = f"cannot install a seccomp filter: {os.strerror(code)}" if code else ""
        return self._reason


def _refused() -> str:
    """Why it cannot work, as far as that can be seen without trying; "" if it may."""
    if reason := seccomp.unavailable():
        return reason
    with socket.socket(socket.AF_UNIX) as found:
        if not procfs.socket_protocol(os.getpid(), found.fileno()):
            return "cannot read the protocol of a socket: allow getxattr(2) of /proc/PID/fd/N"
    return ""


class Adoption:
    """The binds of one generation, and the answers to its system calls."""

    def __init__(self, listeners: list[Listener], callers: Callers) -> None:
        self._listeners = listeners
        self._callers = callers
        self._addresses = tuple(_canonical(listener.address) for listener in listeners)
        self._inodes = {listener.inode for listener in listeners}
        self._paths = {
            a.host for a in self._addresses if a.family is Family.UNIX and a.host[:1] == "/"
        }
        self._names = {os.fsencode(os.path.basename(path)) for path in self._paths}
        self._before: list[tuple[Listener, tuple[sockopt.Option, ...]]] = []
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
        self, wanted: Address, tid: int, own: socket.socket | None = None
    ) -> Listener | str | None:
        """The listener for this address, the message of a refusal, or None: the kernel binds.

        `tid` is the thread that binds, `own` its own socket, if that is known. Raises OSError.
        """
        found = match(_canonical(wanted), self._addresses)
        if not (isinstance(found, Unmatched) or self._callers.admit(tid, wanted, own)):
            return None
        match found:
            case Adopted(index):
                listener = self._listeners[index]
                if listener.inode not in self.adopted:
                    self._begin(listener)
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

    def begin_all(self) -> None:
        """Give the program all listeners as they were at the start."""
        for listener in self._listeners:
            self._begin(listener)

    def _begin(self, listener: Listener) -> None:
        """Undo the options that other generations have set. Those of this one are set next."""
        self._before.append((listener, sockopt.read(listener.socket)))
        sockopt.put_back(listener.socket, listener.original)

    def restore_options(self) -> None:
        """Set the options that were in force before this generation: it does not serve."""
        for listener, options in self._before:
            sockopt.put_back(listener.socket, options)
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
        except (OSError, ValueError, struct.error):
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
        base, path = _unlinked(notification)
        # Programs remove many files: resolve only paths that end in the name of a socket file.
        if path.rpartition(b"/")[2] not in self._names:
            return False
        found = _absolute(notification.tid, base, os.fsdecode(path))
        ours = found in self._paths and shares_mounts(notification.tid)
        return ours and seccomp.still_valid(fd, notification)

    def _bind(self, fd: int, notification: Notification) -> None:
        tid, (target, pointer, length, *_) = notification.tid, notification.arguments
        target &= 0xFFFFFFFF
        length &= 0xFFFFFFFF
        family, kind = _PROTOCOLS.get(procfs.socket_protocol(tid, target), (None, Kind.STREAM))
        if family is None or length not in _LENGTHS[family]:
            seccomp.proceed(fd, notification)
            return
        wanted = _address(tid, procfs.memory(tid, pointer, length), kind)
        same = wanted is not None and wanted.family is family
        if wanted is None or not same or not seccomp.still_valid(fd, notification):
            seccomp.proceed(fd, notification)
            return
        found = self.bind(wanted, tid)
        if isinstance(found, str):
            # The kernel's own error where the address family is not configured.
            seccomp.answer(fd, notification, errno.EADDRNOTAVAIL)
        elif found is None or not _copy_options(tid, target, found):
            seccomp.proceed(fd, notification)
        else:
            flags = procfs.descriptor_flags(tid, target)
            if flags & os.O_NONBLOCK:
                # Never cleared: another generation may rely on it.
                set_nonblocking(found)
            source = found.socket.fileno()
            cloexec = bool(flags & os.O_CLOEXEC)
            seccomp.put_fd(fd, notification, source, target, cloexec=cloexec)
            seccomp.answer(fd, notification)


def _copy_options(tid: int, fd: int, found: Listener) -> bool:
    """Carry the options of the program's socket over; False if that is of another network."""
    try:
        copy = pidfd.getfd(procfs.thread_group(tid), fd)
    except OSError:
        return True  # pidfd_getfd is refused here: only the .socket unit's options apply.
    try:
        own = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return True  # The descriptor was replaced meanwhile, and is no socket.
    with own:
        if credentials.shares_network(own) is False:
            return False
        sockopt.carry(own, found.socket)
        received.do_not_linger(own)  # The program may close its own meanwhile.
        return True


def _reply(fd: int, notification: Notification, *, succeed: bool) -> None:
    if succeed:
        seccomp.answer(fd, notification)
    else:
        seccomp.proceed(fd, notification)


def _address(tid: int, data: bytes, kind: Kind) -> Address | None:
    """A struct sockaddr as an Address; None for a family that no listener has."""
    (family,) = struct.unpack_from("=H", data)
    if family == socket.AF_INET:
        port, packed = struct.unpack_from("!H4s", data, 2)
        return Address(Family.INET, kind, socket.inet_ntop(socket.AF_INET, packed), port)
    if family == socket.AF_INET6:
        port, _flow, packed = struct.unpack_from("!HI16s", data, 2)
        return Address(Family.INET6, kind, socket.inet_ntop(socket.AF_INET6, packed), port)
    if family == socket.AF_UNIX and len(data) > 2:
        name = data[2:]
        if name[0] == 0:
            return Address(Family.UNIX, kind, "@" + os.fsdecode(name[1:]))
        path = os.fsdecode(name.split(b"\0", 1)[0])
        return Address(Family.UNIX, kind, _absolute(tid, f"/proc/{tid}/cwd", path))
    return None


def _canonical(address: Address) -> Address:
    """The address with the symbolic links of its directory resolved."""
    if address.family is not Family.UNIX or address.host[:1] != "/":
        return address
    directory, name = os.path.split(address.host)
    return Address(Family.UNIX, address.kind, os.path.join(os.path.realpath(directory), name))


def _absolute(tid: int, base: str, path: str) -> str:
    """A path of another process, as this process sees it."""
    if path.startswith("/"):
        root = os.readlink(f"/proc/{tid}/root")
        joined = path if root == "/" else root + path
    else:
        joined = os.path.join(os.readlink(base), path)
    directory, name = os.path.split(os.path.normpath(joined))
    return os.path.join(os.path.realpath(directory), name)


def _unlinked(notification: Notification) -> tuple[str, bytes]:
    """What unlink or unlinkat would remove: (directory that a relative path starts at, path). The
    path is empty if the call removes no file.
    """
    tid, arguments = notification.tid, notification.arguments
    base = f"/proc/{tid}/cwd"
    pointer = arguments[0]
    if notification.call is Call.UNLINKAT:
        (directory,) = struct.unpack("=i", struct.pack("=I", arguments[0] & 0xFFFFFFFF))
        pointer = arguments[1]
        if arguments[2] & _AT_REMOVEDIR:
            return base, b""
        if directory != _AT_FDCWD:
            base = f"/proc/{tid}/fd/{directory}"
    path, end, _rest = procfs.memory(tid, pointer, _PATH_MAX).partition(b"\0")
    return base, path if end else b""
