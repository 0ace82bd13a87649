"""The listener that a connection belongs to, by its own address: a struct sockaddr of unix(7)."""

from __future__ import annotations

import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sockact.kernel.sockets.listener import Listener

_ANY = ("0.0.0.0", "::")
_FAMILY = struct.Struct("=H")
_PORT = struct.Struct("!H")
_HOSTS = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}


def listener_for(local: bytes, listeners: Iterable[Listener]) -> int | None:
    """The inode of the listener at this address, or of that at any address of its port; None if
    there is none.
    """
    if len(local) < _FAMILY.size + _PORT.size:
        return None
    (family,) = _FAMILY.unpack_from(local)
    (port,) = _PORT.unpack_from(local, _FAMILY.size)
    if family not in _HOSTS:
        return None
    host = socket.inet_ntop(family, local[_HOSTS[family]])
    found = {
        listener.address.host: listener.inode
        for listener in listeners
        if (listener.socket.family, listener.address.port) == (family, port)
        and listener.socket.type == socket.SOCK_STREAM
    }
    return found.get(host) or next((found[one] for one in _ANY if one in found), None)
