"""Sockets as the kernel sees them: sock_diag(7), linux/inet_diag.h, linux/unix_diag.h, linux/tcp.h.

INET_DIAG (Linux 3.3) with tcp_info; bytes_received needs 4.1, data_segs_in 4.6. No privileges are
needed. A dump is answered synchronously by the kernel, receive buffer by receive buffer: it
does not block, and a timeout guards against the impossible.
"""

from __future__ import annotations

import os
import socket
import struct

from sockact.core.drain import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLMSG_HEADER = struct.Struct("=IHHII")

_INET_DIAG_INFO = 2
_INET_DIAG_REQ_BYTECODE = 1
_BC_S_GE, _BC_S_LE = 2, 3
_NO_COOKIE = b"\xff" * 8

# The states of a connection that still has a program behind it (include/net/tcp_states.h).
ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT = 1, 4, 5, 8
_STATES = 1 << ESTABLISHED | 1 << FIN_WAIT1 | 1 << FIN_WAIT2 | 1 << CLOSE_WAIT

# struct inet_diag_msg: family, state, timer, retrans; sockid (48 bytes); expires, rqueue, wqueue,
# uid, inode.
_INET_MESSAGE = struct.Struct("=BBBB48xIIIII")
_ATTRIBUTE = struct.Struct("=HH")
# struct tcp_info: last_data_sent, last_ack_sent, last_data_recv, last_ack_recv at byte 44 …
_TCP_AGES = struct.Struct("=IIII")
_TCP_AGES_AT = 44
# … bytes_acked, bytes_received, segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in,
# data_segs_out.
_TCP_COUNTS = struct.Struct("=QQIIIIII")
_TCP_COUNTS_AT = 120

_UDIAG_SHOW_NAME = 1
_UNIX_DIAG_NAME = 0
_UNIX_MESSAGE = struct.Struct("=BBBBI8x")
_TIMEOUT = 2.0


def tcp_connections(family: int, port: int) -> Iterator[Connection]:
    """Every connection of a local TCP port, accepted or not (not accepted: inode 0).

    `family` is AF_INET or AF_INET6; a dual-stack listener's connections are all AF_INET6.
    Raises OSError.
    """
    ge = struct.pack("=BBH", _BC_S_GE, 8, 20) + struct.pack("=HH", 0, port)
    le = struct.pack("=BBH", _BC_S_LE, 8, 12) + struct.pack("=HH", 0, port)
    bytecode = _ATTRIBUTE.pack(4 + len(ge + le), _INET_DIAG_REQ_BYTECODE) + ge + le
    extensions = 1 << (_INET_DIAG_INFO - 1)
    request = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, extensions, 0, _STATES)
    sockid = bytes(40) + _NO_COOKIE
    for payload in _dump(request + sockid + bytecode):
        yield _tcp_connection(payload)


def unix_connections(name: bytes) -> Iterator[int]:
    """The inodes of the connections of a Unix stream listener, accepted or not. Raises OSError.

    An accepted socket carries its listener's name: `name` is the sun_path, with its leading NUL
    when it is abstract.
    """
    request = struct.pack("=BBHIII", socket.AF_UNIX, 0, 0, 1 << ESTABLISHED, 0, _UDIAG_SHOW_NAME)
    for payload in _dump(request + _NO_COOKIE):
        _family, kind, _state, _pad, inode = _UNIX_MESSAGE.unpack_from(payload)
        names = [v for k, v in _attributes(payload[_UNIX_MESSAGE.size :]) if k == _UNIX_DIAG_NAME]
        if kind == socket.SOCK_STREAM and names and _sun_path(bytes(names[0])) == name:
            yield inode


def _sun_path(value: bytes) -> bytes:
    return value if value[:1] == b"\0" else value.rstrip(b"\0")


def _tcp_connection(payload: memoryview) -> Connection:
    _family, state, _timer, _retrans, _expires, rqueue, wqueue, _uid, inode = (
        _INET_MESSAGE.unpack_from(payload)
    )
    ages = (0, 0, 0, 0)
    counts = (0,) * 8
    for kind, value in _attributes(payload[_INET_MESSAGE.size :]):
        if kind == _INET_DIAG_INFO and len(value) >= _TCP_COUNTS_AT + _TCP_COUNTS.size:
            ages = _TCP_AGES.unpack_from(value, _TCP_AGES_AT)
            counts = _TCP_COUNTS.unpack_from(value, _TCP_COUNTS_AT)
    last_sent, _, last_received, last_ack = ages
    _acked, received, _out, _in, _unsent, _rtt, data_in, data_out = counts
    return Connection(
        inode=inode,
        state=state,
        unread=rqueue,
        unsent=wqueue,
        last_sent=last_sent,
        last_received=last_received,
        last_ack=last_ack,
        received=received,
        data_segments_in=data_in,
        data_segments_out=data_out,
    )


def _attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def _dump(request: bytes) -> Iterator[memoryview]:
    """The payload of each message that answers a sock_diag dump request."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_TIMEOUT)
        header = _NLMSG_HEADER.pack(
            _NLMSG_HEADER.size + len(request),
            _SOCK_DIAG_BY_FAMILY,
            _NLM_F_REQUEST | _NLM_F_DUMP,
            1,
            0,
        )
        netlink.send(header + request)
        while True:
            data = memoryview(netlink.recv(1 << 17))
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
