"""Connections as the kernel shows them: sock_diag(7), linux/inet_diag.h, linux/unix_diag.h.

Linux 3.3, with struct tcp_info of linux/tcp.h: bytes_received needs Linux 4.1, data_segs_in 4.6.
Needs no privileges. The kernel answers each request at once, so reading does not block; a timeout
guards against the impossible.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys

from sockact.core.connections import Connection
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLMSG_HEADER = struct.Struct("=IHHII")

_INET_DIAG_INFO = 2
_INET_DIAG_REQ_BYTECODE = 1
_BC_S_GE, _BC_S_LE = 2, 3
_NO_COOKIE = b"\xff" * 8

# States in which a connection may belong to a program (include/net/tcp_states.h).
ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT = 1, 4, 5, 8
# TCP_SYN_RECV, and TCP_NEW_SYN_RECV of Linux 4.4.
_HANDSHAKES = 1 << 3 | 1 << 12
_STATES = 1 << ESTABLISHED | 1 << FIN_WAIT1 | 1 << FIN_WAIT2 | 1 << CLOSE_WAIT

# struct inet_diag_msg: family, state, timer, retrans; sockid; expires, rqueue, wqueue, uid, inode.
_INET_MESSAGE = struct.Struct("=BBBB48sIIIII")
_INODE = struct.Struct("=I")
_INODE_AT = _INET_MESSAGE.size - _INODE.size
_ATTRIBUTE = struct.Struct("=HH")
# struct tcp_info: last_data_sent, last_ack_sent, last_data_recv, last_ack_recv at byte 44 …
_TCP_AGES = struct.Struct("=IIII")
_TCP_AGES_AT = 44
# … bytes_acked, bytes_received, segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in,
# data_segs_out.
_TCP_COUNTS = struct.Struct("=QQIIIIII")
_TCP_COUNTS_AT = 120

_SIOCINQ, _SIOCOUTQ = 0x541B, 0x5411

_LISTEN = 10
_UDIAG_SHOW_NAME, _UDIAG_SHOW_VFS = 1, 2
_UNIX_DIAG_NAME, _UNIX_DIAG_VFS = 0, 1
# struct unix_diag_vfs: inode, device.
_UNIX_FILE = struct.Struct("=II")
_UNIX_MESSAGE = struct.Struct("=BBBBI8s")
_NO_SUCH_SOCKET = (errno.ENOENT, errno.ESTALE)
_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A Unix socket. The kernel keeps no times and counts for it."""

    inode: int
    cookie: bytes


@dataclass(frozen=True, slots=True)
class UnixListener:
    """A listening Unix stream socket."""

    inode: int
    name: bytes
    """Its sun_path, as given to bind(2): with a leading NUL byte if it is abstract."""
    file: tuple[int, int] | None
    """(device, inode) of its file; None if it is abstract. The device is the kernel's number, with
    the minor in the low 20 bits; the inode's low 32 bits."""


def tcp_connections(
    family: int, port: int, wanted: Container[int] | None = None
) -> Iterator[Connection]:
    """The connections of a local TCP port, or only those with a `wanted` inode. One that is not
    accepted has inode 0.

    `family` is AF_INET or AF_INET6; all connections of a dual-stack listener are AF_INET6. Raises
    OSError.
    """
    for payload in _of_port(family, port, _STATES):
        if wanted is None or _INODE.unpack_from(payload, _INODE_AT)[0] in wanted:
            yield _tcp_connection(payload)


def tcp_handshakes(family: int, port: int) -> set[bytes]:
    """The identities of the handshakes under way at a local TCP port. Raises OSError."""
    return {_tcp_connection(payload).identity for payload in _of_port(family, port, _HANDSHAKES)}


def _of_port(family: int, port: int, states: int) -> Iterator[memoryview]:
    ge = struct.pack("=BBH", _BC_S_GE, 8, 20) + struct.pack("=HH", 0, port)
    le = struct.pack("=BBH", _BC_S_LE, 8, 12) + struct.pack("=HH", 0, port)
    bytecode = _ATTRIBUTE.pack(4 + len(ge + le), _INET_DIAG_REQ_BYTECODE) + ge + le
    sockid = bytes(40) + _NO_COOKIE
    return _ask(_inet_request(family, states) + sockid + bytecode, _NLM_F_DUMP)


def tcp_connection(family: int, identity: bytes) -> Connection | None:
    """The connection with this `identity`; None if it is gone, or belongs to no process.

    The cost does not depend on the number of connections. Raises OSError.
    """
    try:
        for payload in _ask(_inet_request(family, _STATES) + identity):
            found = _tcp_connection(payload)
            return found if found.inode and _STATES >> found.state & 1 else None
    except OSError as error:
        if error.errno not in _NO_SUCH_SOCKET:
            raise
    return None


def _inet_request(family: int, states: int) -> bytes:
    extensions = 1 << (_INET_DIAG_INFO - 1)
    return struct.pack("=BBBBI", family, socket.IPPROTO_TCP, extensions, 0, states)


def unix_connections(name: bytes) -> Iterator[UnixSocket]:
    """The connections of a Unix stream listener, accepted or not. Raises OSError.

    `name` is the sun_path, with a leading NUL byte if it is abstract; accepted sockets have that of
    their listener.
    """
    request = struct.pack("=BBHIII", socket.AF_UNIX, 0, 0, 1 << ESTABLISHED, 0, _UDIAG_SHOW_NAME)
    for payload in _ask(request + _NO_COOKIE, _NLM_F_DUMP):
        _family, kind, _state, _pad, inode, cookie = _UNIX_MESSAGE.unpack_from(payload)
        names = [v for k, v in _attributes(payload[_UNIX_MESSAGE.size :]) if k == _UNIX_DIAG_NAME]
        if kind == socket.SOCK_STREAM and names and _sun_path(bytes(names[0])) == name:
            yield UnixSocket(inode, cookie)


def unix_listeners() -> Iterator[UnixListener]:
    """The Unix stream listeners of this network namespace. Raises OSError."""
    show = _UDIAG_SHOW_NAME | _UDIAG_SHOW_VFS
    request = struct.pack("=BBHIII", socket.AF_UNIX, 0, 0, 1 << _LISTEN, 0, show)
    for payload in _ask(request + _NO_COOKIE, _NLM_F_DUMP):
        _family, kind, _state, _pad, inode, _cookie = _UNIX_MESSAGE.unpack_from(payload)
        found = dict(_attributes(payload[_UNIX_MESSAGE.size :]))
        if kind == socket.SOCK_STREAM and _UNIX_DIAG_NAME in found:
            file = None
            if _UNIX_DIAG_VFS in found:
                number, device = _UNIX_FILE.unpack_from(found[_UNIX_DIAG_VFS])
                file = (device, number)
            yield UnixListener(inode, _sun_path(bytes(found[_UNIX_DIAG_NAME])), file)


def unix_is_open(connection: UnixSocket) -> bool:
    """Whether the socket still exists. Raises OSError."""
    request = struct.pack("=BBHIII", socket.AF_UNIX, 0, 0, 0, connection.inode, 0)
    try:
        return any(True for _ in _ask(request + connection.cookie))
    except OSError as error:
        if error.errno not in _NO_SUCH_SOCKET:
            raise
    return False


def _sun_path(value: bytes) -> bytes:
    return value if value[:1] == b"\0" else value.rstrip(b"\0")


def _tcp_connection(payload: memoryview) -> Connection:
    _family, state, _timer, _retrans, identity, _expires, rqueue, wqueue, _uid, inode = (
        _INET_MESSAGE.unpack_from(payload)
    )
    info = next(
        (v for k, v in _attributes(payload[_INET_MESSAGE.size :]) if k == _INET_DIAG_INFO), b""
    )
    return Connection(inode, state, rqueue, wqueue, *_counters(info), identity)


def _counters(info: memoryview | bytes) -> tuple[int, int, int, int, int, int]:
    """The fields of a Connection from its last_sent on, of a struct tcp_info."""
    if len(info) < _TCP_COUNTS_AT + _TCP_COUNTS.size:
        return (0,) * 6
    last_sent, _, last_received, last_ack = _TCP_AGES.unpack_from(info, _TCP_AGES_AT)
    counts = _TCP_COUNTS.unpack_from(info, _TCP_COUNTS_AT)
    _acked, received, _out, _in, _unsent, _rtt, data_in, data_out = counts
    return last_sent, last_received, last_ack, received, data_in, data_out


def of_socket(connection: socket.socket) -> Connection:
    """The same of one's own descriptor: tcp(7), TCP_INFO, SIOCINQ, SIOCOUTQ. Raises OSError."""
    size = _TCP_COUNTS_AT + _TCP_COUNTS.size
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    unread, unsent = (_length(connection, queue) for queue in (_SIOCINQ, _SIOCOUTQ))
    inode = os.fstat(connection.fileno()).st_ino
    return Connection(inode, info[0], unread, unsent, *_counters(info))


def _length(connection: socket.socket, queue: int) -> int:
    return int.from_bytes(fcntl.ioctl(connection, queue, bytes(4)), sys.byteorder)


def _attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def _ask(request: bytes, flags: int = 0) -> Iterator[memoryview]:
    """The payloads of the kernel's answer: many messages for a dump, otherwise one."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_TIMEOUT)
        length = _NLMSG_HEADER.size + len(request)
        header = _NLMSG_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | flags, 1, 0)
        netlink.send(header + request)
        while True:
            data = memoryview(netlink.recv(1 << 17 if flags else 1 << 12))
            while len(data) >= _NLMSG_HEADER.size:
                length, kind, *_ = _NLMSG_HEADER.unpack_from(data)
                if kind == _NLMSG_DONE:
                    return
                payload = data[_NLMSG_HEADER.size : length]
                if kind == _NLMSG_ERROR:
                    error = -struct.unpack_from("=i", payload)[0]
                    raise OSError(error, f"sock_diag: {os.strerror(error)}")
                yield payload
                data = data[(length + 3) & ~3 :]
            if not flags:
                return
