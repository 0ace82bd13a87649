"""The arguments of notified system calls: addresses and paths in the memory of the caller, read in
the helper (looks.py), because a page of it may never arrive.

They may have changed, or belong to another process, by the time they are read: call
`seccomp.still_valid` afterwards. Functions raise OSError and ValueError.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from sockact.core.matching import Address, Family, Kind
from sockact.kernel import procfs
from sockact.kernel.looks import apart
from sockact.kernel.seccomp import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from sockact.kernel.seccomp import Notification

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


def socket_address(notification: Notification) -> Address | None:
    """The address in a bind or connect; None if the kernel refuses it for this socket, or if no
    listener can have it. Raises PermissionError if the socket cannot be looked at.
    """
    target, pointer, length, *_ = notification.arguments
    found = of_socket(notification.tid, target & 0xFFFFFFFF, pointer, length & 0xFFFFFFFF)
    if found is None:
        return None
    family, kind, host, port = found
    return Address(Family(family), Kind(kind), host, port)


def canonical(address: Address) -> Address:
    """The address with the symbolic links of its directory resolved. Raises Unavailable."""
    if not address.is_file:
        return address
    return Address(Family.UNIX, address.kind, _resolved(address.host))


def changed_path(notification: Notification, names: Collection[bytes]) -> str:
    """What an unlink or unlinkat would remove, or a symlink or symlinkat create, as this process
    sees it; "" if its name is not one of the `names`.
    """
    arguments = notification.arguments
    at = {Call.UNLINKAT: 0, Call.SYMLINKAT: 1}.get(notification.call)
    pointer = arguments[1 if notification.call is Call.SYMLINK else 0]
    directory = _AT_FDCWD
    if at is not None:
        (directory,) = struct.unpack("=i", struct.pack("=I", arguments[at] & 0xFFFFFFFF))
        pointer = arguments[at + 1]
        if notification.call is Call.UNLINKAT and arguments[2] & _AT_REMOVEDIR:
            return ""
    return _path(notification.tid, directory, pointer, set(names))


@apart
def of_socket(tid: int, target: int, pointer: int, length: int) -> tuple[str, str, str, int] | None:
    """`socket_address` with plain arguments: (family, kind, host, port)."""
    if procfs.socket_inode(tid, target) is None:
        return None
    family, kind = _PROTOCOLS.get(procfs.socket_protocol(tid, target), (None, Kind.STREAM))
    if family is None or length not in _LENGTHS[family]:
        return None
    found = _address(tid, procfs.memory(tid, pointer, length), kind)
    if found is None or found.family is not family:
        return None
    return family.value, kind.value, found.host, found.port


def _address(tid: int, data: bytes, kind: Kind) -> Address | None:
    """A struct sockaddr as an Address; None for a family of no listener, or if it is cut off."""
    try:
        (family,) = struct.unpack_from("=H", data)
        if family == socket.AF_INET:
            port, packed = struct.unpack_from("!H4s", data, 2)
            return Address(Family.INET, kind, socket.inet_ntop(socket.AF_INET, packed), port)
        if family == socket.AF_INET6:
            port, _flow, packed = struct.unpack_from("!HI16s", data, 2)
            return Address(Family.INET6, kind, socket.inet_ntop(socket.AF_INET6, packed), port)
    except struct.error:
        return None
    if family == socket.AF_UNIX and len(data) > 2:
        name = data[2:]
        if name[0] == 0:
            return Address(Family.UNIX, kind, "@" + os.fsdecode(name[1:]))
        path = os.fsdecode(name.split(b"\0", 1)[0])
        return Address(Family.UNIX, kind, _absolute(tid, f"/proc/{tid}/cwd", path))
    return None


@apart
def _path(tid: int, directory: int, pointer: int, names: set[bytes]) -> str:
    path, end, _rest = procfs.memory(tid, pointer, _PATH_MAX).partition(b"\0")
    # Programs remove many files: resolve only paths that end in the name of one of ours.
    if not end or path.rpartition(b"/")[2] not in names:
        return ""
    base = f"/proc/{tid}/cwd" if directory == _AT_FDCWD else f"/proc/{tid}/fd/{directory}"
    return _absolute(tid, base, os.fsdecode(path))


def _absolute(tid: int, base: str, path: str) -> str:
    """A path of another process, as this process sees it."""
    if path.startswith("/"):
        root = os.readlink(f"/proc/{tid}/root")
        joined = path if root == "/" else root + path
    else:
        joined = os.path.join(os.readlink(base), path)
    return _resolved(os.path.normpath(joined))


@apart
def _resolved(path: str) -> str:
    """The path with the symbolic links of its directory resolved. Raises OSError for too many,
    which the kernel does not follow, either: ELOOP.
    """
    directory, name = os.path.split(path)
    try:
        os.stat(directory)
    except OSError as error:
        # Python may resolve more links (3.13).
        if error.errno == errno.ELOOP:
            raise
    try:
        return os.path.join(os.path.realpath(directory), name)
    except RecursionError:
        # The path was too long for stat(2).
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), directory) from None
