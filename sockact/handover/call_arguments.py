"""The arguments of notified system calls: addresses and paths in the memory of the caller.

They may have changed, or belong to another process, by the time they are read: call
`seccomp.still_valid` afterwards. Functions raise OSError, ValueError and struct.error.
"""

from __future__ import annotations

import os
import socket
import struct

from sockact.core.matching import Address, Family, Kind
from sockact.kernel import procfs
from sockact.kernel.seccomp import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    listener can have it.
    """
    tid, (target, pointer, length, *_) = notification.tid, notification.arguments
    length &= 0xFFFFFFFF
    protocol = procfs.socket_protocol(tid, target & 0xFFFFFFFF)
    family, kind = _PROTOCOLS.get(protocol, (None, Kind.STREAM))
    if family is None or length not in _LENGTHS[family]:
        return None
    found = address(tid, procfs.memory(tid, pointer, length), kind)
    return found if found is not None and found.family is family else None


def address(tid: int, data: bytes, kind: Kind) -> Address | None:
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
        return Address(Family.UNIX, kind, absolute(tid, f"/proc/{tid}/cwd", path))
    return None


def canonical(address: Address) -> Address:
    """The address with the symbolic links of its directory resolved."""
    if address.family is not Family.UNIX or address.host[:1] != "/":
        return address
    directory, name = os.path.split(address.host)
    return Address(Family.UNIX, address.kind, os.path.join(os.path.realpath(directory), name))


def absolute(tid: int, base: str, path: str) -> str:
    """A path of another process, as this process sees it."""
    if path.startswith("/"):
        root = os.readlink(f"/proc/{tid}/root")
        joined = path if root == "/" else root + path
    else:
        joined = os.path.join(os.readlink(base), path)
    directory, name = os.path.split(os.path.normpath(joined))
    return os.path.join(os.path.realpath(directory), name)


def changed_path(notification: Notification) -> tuple[str, bytes]:
    """What an unlink or unlinkat would remove, or a symlink or symlinkat create: (directory that a
    relative path starts at, path). The path is empty if the call removes no file.
    """
    tid, arguments = notification.tid, notification.arguments
    base = f"/proc/{tid}/cwd"
    at = {Call.UNLINKAT: 0, Call.SYMLINKAT: 1}.get(notification.call)
    pointer = arguments[1 if notification.call is Call.SYMLINK else 0]
    if at is not None:
        (directory,) = struct.unpack("=i", struct.pack("=I", arguments[at] & 0xFFFFFFFF))
        pointer = arguments[at + 1]
        if directory != _AT_FDCWD:
            base = f"/proc/{tid}/fd/{directory}"
        if notification.call is Call.UNLINKAT and arguments[2] & _AT_REMOVEDIR:
            return base, b""
    path, end, _rest = procfs.memory(tid, pointer, _PATH_MAX).partition(b"\0")
    return base, path if end else b""
