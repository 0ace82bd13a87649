"""Socket options that connections inherit from their listener: socket(7), tcp(7), ip(7), ipv6(7).

A program sets them on its own socket before it binds, and adoption replaces that socket by the
listener: without its TCP_NODELAY, gunicorn is ten times slower. TCP_NOTSENT_LOWAT needs Linux 3.12.

The listener outlives the program, and so would the options: `put_back` undoes them. SO_BUF_LOCK
needs Linux 5.14: before that, a buffer whose size was set stays at one size. UDP_SEGMENT needs
Linux 4.18, UDP_GRO 5.0, and SO_BINDTODEVICE of a socket without a device no rights since 5.7.
"""

from __future__ import annotations

import socket
import sys

from sockact.core.matching import Traits

_TCP_NOTSENT_LOWAT = 25
_SO_BUF_LOCK = 72
_SOL_UDP, _UDP_SEGMENT, _UDP_GRO = 17, 103, 104

_DOUBLED = {
    # The kernel doubles the value that is set, and returns the double.
    (socket.SOL_SOCKET, socket.SO_RCVBUF),
    (socket.SOL_SOCKET, socket.SO_SNDBUF),
}
_NUMBERS = (
    *_DOUBLED,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    (socket.SOL_SOCKET, socket.SO_OOBINLINE),
    (socket.SOL_SOCKET, socket.SO_PRIORITY),
    (socket.SOL_SOCKET, socket.SO_BROADCAST),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT),
    (socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP),
    (socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT),
    (socket.IPPROTO_IP, socket.IP_TOS),
    (socket.IPPROTO_IP, socket.IP_TTL),
    (socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
    (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
    (_SOL_UDP, _UDP_SEGMENT),
    (_SOL_UDP, _UDP_GRO),
)
_TEXTS = (
    (socket.SOL_SOCKET, socket.SO_LINGER, 8),
    (socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16),
    (socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16),
    (socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16),
)
_DEVICE = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE)
_LONGEST_DEVICE = 16
# An option as getsockopt(2) returns it: (level, option, value).
Option = tuple[int, int, bytes]
# An option as setsockopt(2) takes it.
Change = tuple[int, int, int | bytes]


def read(sock: socket.socket) -> tuple[Option, ...]:
    """The options that `change` may change, and the network device, for `put_back`."""
    wanted = [*((level, option, 4) for level, option in _NUMBERS), *_TEXTS]
    wanted.append((*_DEVICE, _LONGEST_DEVICE))
    found = ((level, option, _text(sock, level, option, size)) for level, option, size in wanted)
    return tuple(one for one in found if one[2])


def put_back(sock: socket.socket, options: tuple[Option, ...]) -> None:
    """Set the options that differ from those that `read` returned earlier."""
    for level, option, value in options:
        if _text(sock, level, option, len(value)) == value:
            continue
        if (level, option) in _DOUBLED:
            number = int.from_bytes(value, sys.byteorder)
            _set(sock, level, option, number // 2)
            # A size that was set is no longer adjusted to the connection.
            _set(sock, socket.SOL_SOCKET, _SO_BUF_LOCK, 0)
        else:
            _set(sock, level, option, value)


def changed(own: socket.socket) -> tuple[Change, ...]:
    """The options that the program has changed on its own socket, for `change`."""
    try:
        new = socket.socket(own.family, own.type)
    except OSError:
        return ()  # No descriptor is left, say: only the .socket unit's options apply.
    found: list[Change] = []
    with new:
        for level, option in _NUMBERS:
            if (value := _number(own, level, option)) != _number(new, level, option):
                found.append((level, option, _as_set(level, option, value)))
        for level, option, size in _TEXTS:
            if (text := _text(own, level, option, size)) != _text(new, level, option, size):
                found.append((level, option, text))
    return tuple(found)


def change(listener: socket.socket, changes: tuple[Change, ...]) -> None:
    """Set these options on the listener.

    Other options stay as the .socket unit sets them (NoDelay=, KeepAlive=, …). Options that the
    address family does not have, or that we may not set, are skipped.
    """
    for level, option, value in changes:
        _set(listener, level, option, value)


def traits(own: socket.socket) -> Traits:
    """The options of a program's socket that decide about its bind()."""
    return Traits(
        bool(_number(own, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)),
        bool(_number(own, socket.SOL_SOCKET, socket.SO_REUSEADDR)),
        bool(_number(own, socket.SOL_SOCKET, socket.SO_REUSEPORT)),
    )


def _as_set(level: int, option: int, value: int) -> int:
    return value // 2 if (level, option) in _DOUBLED else value


def _number(sock: socket.socket, level: int, option: int) -> int:
    try:
        return sock.getsockopt(level, option)
    except OSError:
        return 0


def _text(sock: socket.socket, level: int, option: int, size: int) -> bytes:
    try:
        found = sock.getsockopt(level, option, size)
    except OSError:
        return b""
    # No device has no name, and is set by one of zeros.
    return found.ljust(size, b"\0") if (level, option) == _DEVICE else found


def _set(sock: socket.socket, level: int, option: int, value: int | bytes) -> None:
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return
