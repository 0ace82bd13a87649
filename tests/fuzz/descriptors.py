"""Descriptors of all kinds, to send along with a message or to make system calls with."""

from __future__ import annotations

import array
import contextlib
import ctypes
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

LIBC = ctypes.CDLL(None, use_errno=True)
ANY = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
LEVELS = (socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6)
OPTIONS = 60
"""More than any of these levels has."""


def some(chance: random.Random) -> list[int]:
    """New ones, of one kind."""
    match chance.randrange(8):
        case 0:
            return [*os.pipe()]
        case 1:
            return [os.open("/dev/null", os.O_RDWR) for _ in range(chance.randrange(1, 9))]
        case 2:
            return [os.open("/", os.O_PATH)]
        case 3:
            return [os.memfd_create("x")]
        case 4:
            return [int(LIBC.epoll_create1(0)), int(LIBC.eventfd(0, 0))]
        case 5:
            return [socket.socket(socket.AF_UNIX, chance.choice(ANY)).detach()]
        case 6:
            return [os.pidfd_open(os.getpid())]
    sock = socket.socket(chance.choice((socket.AF_INET, socket.AF_INET6)), chance.choice(ANY[:2]))
    for _ in range(3):
        with contextlib.suppress(OSError):
            value = chance.choice((0, 1, -1, 2**31 - 1))
            sock.setsockopt(chance.choice(LEVELS), chance.randrange(OPTIONS), value)
    return [sock.detach()]


@contextlib.contextmanager
def attached(chance: random.Random, one_in: int) -> Iterator[list[tuple[int, int, bytes]]]:
    """Ancillary data for sendmsg(2), which one time in so many has descriptors."""
    fds = some(chance) if chance.randrange(one_in) == 0 else []
    try:
        rights = array.array("i", fds).tobytes()
        yield [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if fds else []
    finally:
        for fd in fds:
            os.close(fd)
