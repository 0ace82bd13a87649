"""What a program may have done to a listener that outlives it, and how to undo it: shutdown(2) and
connect(2) on it, socket(7), ip(7), ipv6(7), tcp(7).

The options here keep clients away, and no server needs them on a listener: IP_MINTTL, a socket
filter, a pacing rate of one byte each second. No setting of a .socket unit changes them. Some need
newer kernels, up to Linux 5.3 (TCP_TX_DELAY); an older one has no such option to undo.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct

from sockact.core.matching import Family, Kind
from sockact.kernel import bpf
from sockact.kernel.libc import call
from sockact.kernel.sockets import admission

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.sockets.listener import Listener

_HARMFUL = (
    # (level, option, size)
    (socket.SOL_SOCKET, 5, 4),  # SO_DONTROUTE
    (socket.SOL_SOCKET, 18, 4),  # SO_RCVLOWAT
    (socket.SOL_SOCKET, 42, 4),  # SO_PEEK_OFF
    (socket.SOL_SOCKET, 47, 8),  # SO_MAX_PACING_RATE
    (socket.IPPROTO_IP, 4, 40),  # IP_OPTIONS
    (socket.IPPROTO_IP, 21, 4),  # IP_MINTTL
    (socket.IPPROTO_IPV6, 57, 64),  # IPV6_RTHDR
    (socket.IPPROTO_IPV6, 73, 4),  # IPV6_MINHOPCOUNT
    (socket.IPPROTO_TCP, 2, 4),  # TCP_MAXSEG
    (socket.IPPROTO_TCP, 3, 4),  # TCP_CORK
    (socket.IPPROTO_TCP, 7, 4),  # TCP_SYNCNT
    (socket.IPPROTO_TCP, 37, 4),  # TCP_TX_DELAY
    (17, 1, 4),  # UDP_CORK
    (17, 100, 4),  # UDP_ENCAP
)
_AF_UNSPEC = struct.pack("=H14x", 0)


def undo_options(listener: Listener, *, admit: bool = True) -> None:
    """Set the options that keep clients away as on a new socket. If `admit` is false, the filter of
    `admission.admit_no_more` stays.
    """
    sock = listener.socket
    with socket.socket(sock.family, sock.type) as new:
        for level, option, size in _HARMFUL:
            wanted = _get(new, level, option, size)
            if wanted != _get(sock, level, option, size):
                _set(sock, level, option, wanted or b"")
    with contextlib.suppress(OSError):
        if admit or not admission.admits_no_more(sock):
            bpf.detach_filter(sock)


def has_lost_clients(listener: Listener) -> bool:
    """Whether the listener no longer listens: it was shut down, or connected to a peer."""
    sock = listener.socket
    if listener.address.kind is Kind.DATAGRAM:
        return is_connected(sock)
    return not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def listen_again(listener: Listener, limit: int) -> None:
    """Make a listener that has lost its clients listen again, with its address. Raises OSError."""
    if listener.address.family is not Family.UNIX:
        # Also if it is not connected: a second shutdown() would be inherited by all connections.
        call("connect", listener.socket.fileno(), _AF_UNSPEC, len(_AF_UNSPEC))
    if listener.address.kind is Kind.STREAM:
        listener.socket.listen(limit)


def defect(listener: Listener) -> str:
    """Why no client can connect, although the listener listens; "" if nothing is known to hinder
    them.
    """
    if listener.address.family is Family.UNIX and _is_shut(listener.socket):
        return "it was shut down, which cannot be undone for a Unix socket"
    sock = listener.socket
    if bpf.read_filter(sock) != b"" and not admission.admits_no_more(sock):
        return "a socket filter was locked on it"
    return ""


def is_connected(sock: socket.socket) -> bool:
    """Whether connect(2) was called on the socket."""
    try:
        sock.getpeername()
    except OSError as error:
        return error.errno != errno.ENOTCONN
    return True


def _is_shut(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


def _get(sock: socket.socket, level: int, option: int, size: int) -> bytes | None:
    try:
        return sock.getsockopt(level, option, size)
    except OSError:
        return None  # The family, or this kernel, has no such option.


def _set(sock: socket.socket, level: int, option: int, value: int | bytes) -> None:
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return
