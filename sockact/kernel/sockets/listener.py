"""Listeners: the listening (or datagram) sockets that outlive every generation.

socket(7), ip(7), unix(7), Linux 2.6.24 for TCP_INFO of tcp(7).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct

from sockact.core.matching import Address, Family, Kind
from sockact.core.record import dataclass
from sockact.kernel.sockets import sockopt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.sockets.sockopt import Option

_TCP_LISTEN = 10

FAMILIES = {
    socket.AF_INET: Family.INET,
    socket.AF_INET6: Family.INET6,
    socket.AF_UNIX: Family.UNIX,
}
KINDS = {socket.SOCK_STREAM: Kind.STREAM, socket.SOCK_DGRAM: Kind.DATAGRAM}


@dataclass(frozen=True)
class Listener:
    """A listener with its name (FileDescriptorName=) and its address."""

    name: str
    socket: socket.socket
    address: Address
    inode: int
    owned: bool
    """Opened by sockact, not by systemd."""
    original: tuple[Option, ...] = ()
    """The options that it had before a program changed them."""
    lane: int = 0
    """Which of the sockets at this address it is: docs/lanes.md."""

    def close(self, *, keep_file: bool = False) -> None:
        """Close the socket, and remove the socket file if sockact has opened it."""
        if self.owned and not keep_file and self.address.is_file:
            try:
                os.unlink(self.address.host)
            except FileNotFoundError:
                pass
        self.socket.close()


def of_socket(
    name: str, found: socket.socket, *, owned: bool, original: tuple[Option, ...] = ()
) -> Listener:
    """The Listener of a bound socket. Raises KeyError for other families and types."""
    address, inode = address_of(found), os.fstat(found.fileno()).st_ino
    return Listener(name, found, address, inode, owned, original or _original(found, owned))


def of_descriptor(
    fd: int, name: str, *, owned: bool, original: tuple[Option, ...] = ()
) -> Listener:
    """The Listener of a descriptor, which it owns from then on. Raises OSError, KeyError."""
    return of_socket(name, socket.socket(fileno=fd), owned=owned, original=original)


def _original(found: socket.socket, owned: bool) -> tuple[Option, ...]:
    if not owned:
        return sockopt.read(found)
    # It may have been kept from an earlier life of the service.
    with socket.socket(found.family, found.type) as new:
        return sockopt.read(new)


def address_of(found: socket.socket) -> Address:
    """The local address of a socket. Raises KeyError for other families and types."""
    family, kind = FAMILIES[found.family], KINDS[found.type]
    name = found.getsockname()
    if family is not Family.UNIX:
        return Address(family, kind, name[0], name[1])
    if isinstance(name, bytes):
        return Address(family, kind, "@" + os.fsdecode(name[1:]))
    return Address(family, kind, os.path.abspath(name) if name else "")


def accept_queue(listener: Listener) -> tuple[int, int] | None:
    """(number of connections that wait to be accepted, limit); None if the kernel does not tell.

    tcpi_unacked and tcpi_sacked of a listening TCP socket (Linux 2.6.24).
    """
    if listener.address.family is Family.UNIX or listener.address.kind is not Kind.STREAM:
        return None
    try:
        # Only a listening socket tells without its lock, which a program could hold (looks.py).
        if not listener.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        info = listener.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    except OSError:
        return None  # MPTCP before Linux 5.16.
    if info[0] != _TCP_LISTEN:
        return None
    waiting, limit = struct.unpack_from("=II", info, 24)
    return waiting, limit


def set_nonblocking(listener: Listener) -> None:
    """Set O_NONBLOCK, which all generations share."""
    flags = fcntl.fcntl(listener.socket, fcntl.F_GETFL)
    fcntl.fcntl(listener.socket, fcntl.F_SETFL, flags | os.O_NONBLOCK)


def clear_nonblocking(listener: Listener) -> None:
    """Clear O_NONBLOCK. Only while no generation has the listener."""
    flags = fcntl.fcntl(listener.socket, fcntl.F_GETFL)
    fcntl.fcntl(listener.socket, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
