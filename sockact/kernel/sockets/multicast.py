"""Which UDP sockets receive multicast: ip(7), ipv6(7), RFC 3678.

The kernel gives a datagram for a multicast group to each socket at its port, not to one member of
an SO_REUSEPORT group. Memberships belong to the open socket and outlive the program that joined.
The kernel tells whether a socket is a member of a group (MCAST_MSFILTER, Linux 2.6) but not of
which ones, so it is asked for each group that this machine has joined. Raises nothing: what cannot
be read is no membership.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from sockact.kernel.libc import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MCAST_MSFILTER = 48
_STORAGE = 128  # Bytes of struct sockaddr_storage.
_MOST_GROUPS = 1000


def receives(found: socket.socket) -> bool:
    """Whether the socket is bound to a multicast address or has joined a group."""
    if found.type != socket.SOCK_DGRAM or found.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    return _is_group(found) or any(
        _is_member(found, level, interface, group)
        for level, interface, group in _groups(found.family == socket.AF_INET6)
    )


def _is_group(found: socket.socket) -> bool:
    first = socket.inet_pton(found.family, found.getsockname()[0].partition("%")[0])[0]
    return first == 0xFF if found.family == socket.AF_INET6 else 0xE0 <= first <= 0xEF


def _groups(ipv6: bool) -> Iterator[tuple[int, int, bytes]]:
    """(level of the option, index of the interface, sockaddr) of the groups of this machine."""
    for interface, group in _lines("/proc/net/igmp"):
        address = struct.pack("=I", int(group, 16))  # In network order, as one number.
        yield socket.IPPROTO_IP, interface, struct.pack("=HH4s", socket.AF_INET, 0, address)
    for interface, group in _lines("/proc/net/igmp6") if ipv6 else ():
        name = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, bytes.fromhex(group), 0)
        yield socket.IPPROTO_IPV6, interface, name


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """(index of the interface, group in hexadecimal) of each line."""
    interface = 0
    try:
        with open(path) as table:
            for _, line in zip(range(_MOST_GROUPS), table, strict=False):
                words = line.split()
                if path.endswith("6"):
                    yield int(words[0]), words[2]
                elif words[0].isdigit() and not line.startswith("\t"):
                    interface = int(words[0])
                elif line.startswith("\t"):
                    yield interface, words[0]
    except (OSError, ValueError, IndexError):
        return


def _is_member(found: socket.socket, level: int, interface: int, group: bytes) -> bool:
    # struct group_filter: interface, group, mode, number of sources, and no room for any.
    data = struct.pack("=I4x", interface) + group.ljust(_STORAGE, b"\0") + struct.pack("=II", 0, 0)
    size = ctypes.c_uint32(len(data))
    buffer = ctypes.create_string_buffer(data, len(data))
    try:
        call("getsockopt", found.fileno(), level, _MCAST_MSFILTER, buffer, ctypes.byref(size))
    except OSError:
        return False
    return True
