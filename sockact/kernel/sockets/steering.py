"""Steering: which of the listening sockets of a TCP port gets new connections. socket(7).

To bind(2) beside a listening socket, both need SO_REUSEPORT (Linux 3.9) and the same owner. A
socket that listens already can get both through a duplicate of its descriptor: by setsockopt(2) and
by fchown(2) (Linux 4.10). A classic BPF program (SO_ATTACH_REUSEPORT_CBPF, Linux 4.5) then selects
the socket for each new connection. Functions raise OSError.
"""

from __future__ import annotations

import os
import socket

from sockact.kernel import bpf

_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_DETACH_REUSEPORT_BPF = 68
_FLAGS_AT = 13
_SYN, _ACK = 0x02, 0x10
_FIRST_PACKETS_DROPPED = bpf.Program(
    (bpf.LOAD_BYTE, 0, 0, _FLAGS_AT),
    (bpf.AND, 0, 0, _SYN | _ACK),
    (bpf.JUMP_IF_EQUAL, 0, 1, _SYN),
    (bpf.RETURN, 0, 0, 0),
    (bpf.RETURN, 0, 0, bpf.EVERYTHING),
)


def share(listener: socket.socket, owner: int) -> None:
    """Let sockets of this user that have SO_REUSEPORT be bound beside a listening one."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    os.fchown(listener.fileno(), owner, -1)


def steer(listener: socket.socket, index: int) -> None:
    """Send new connections to the socket that was the index-th to listen on the port, from 0.

    If it is gone, the kernel chooses among the others.
    """
    program = bpf.Program((bpf.RETURN, 0, 0, index))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program.fprog)


def begin(listener: socket.socket) -> None:
    """`steer` to this socket before another one is bound beside it, so that no connection ever gets
    lost to the other one. The kernel keeps the choice of a port only for sockets that share it, so
    a socket that drops every packet listens beside it for a moment.
    """
    with socket.socket(listener.family, listener.type) as beside:
        # The other one is for addresses of connections that are open.
        for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR):
            beside.setsockopt(socket.SOL_SOCKET, option, 1)
        if listener.family == socket.AF_INET6:
            alone = listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            beside.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
        bpf.attach_filter(beside, bpf.Program((bpf.RETURN, 0, 0, 0)))
        beside.bind(listener.getsockname())
        if listener.type == socket.SOCK_STREAM:
            beside.listen(1)
        steer(listener, 0)


def let_go(listener: socket.socket) -> None:
    """Undo `steer`: the kernel spreads new connections over all sockets (Linux 5.3)."""
    listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)


def admit_no_more(listener: socket.socket) -> None:
    """Drop the first packet of each new connection, which the client sends again after 1 s.

    Handshakes that have begun continue.
    """
    bpf.attach_filter(listener, _FIRST_PACKETS_DROPPED)


def admits_no_more(listener: socket.socket) -> bool:
    """Whether `admit_no_more` is in effect."""
    return bpf.read_filter(listener) == bytes(_FIRST_PACKETS_DROPPED)


def admit_again(listener: socket.socket) -> None:
    """Undo `admit_no_more`."""
    bpf.detach_filter(listener)
