"""bind, listen, shutdown, unlink and unlinkat with senseless descriptors, addresses and lengths.

Each is stopped by the seccomp filter and answered by the supervisor, which reads the arguments from
the memory of this process: docs/adopt.md. Nothing but the listener has a name like those here.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from typing import TYPE_CHECKING

from tests.fuzz.descriptors import LIBC, some

if TYPE_CHECKING:
    import random

SIZE = 8192
EVERY = 50
"""Calls until there are other descriptors."""
FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET, socket.AF_INET6, 0, 16, 65535)
HOSTS = ("127.0.0.1", "127.0.0.1", "0.0.0.0", "10.9.8.7", "255.255.255.255")
LENGTHS = (16, 16, 28, 110, 0, 1, 2, 3, 15, 109, 111, 128, 129, -1, 2**31 - 1, -(2**31))
NUMBERS = (-1, 10**9, 2**31 - 1, -(2**31), 0)
FLAGS = (0, 0, 0x200, -1, 1)
DIRECTORIES = (-100, -100, -1, 0, 10**6)
EDGES = (0, 1, 2**64 - 1, 2**63, 2**47 - 1, 2**47)
for _function in (LIBC.bind, LIBC.listen, LIBC.shutdown, LIBC.unlink, LIBC.unlinkat):
    _function.restype = ctypes.c_int
LIBC.bind.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
LIBC.unlink.argtypes = (ctypes.c_void_p,)
LIBC.unlinkat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class Calls:
    """Makes the calls."""

    def __init__(self, chance: random.Random, port: int, listener: str) -> None:
        self._chance = chance
        self._port = port
        self._listener = os.fsencode(listener)
        self._buffer = ctypes.create_string_buffer(SIZE)
        self._kept: list[int] = []
        self._left = 0

    def send(self, count: int) -> None:
        """Make so many."""
        for _ in range(count):
            if not self._left:
                self._others()
            self._left -= 1
            match self._chance.randrange(8):
                case 0 | 1 | 2 | 3:
                    data = self._address()
                    lengths = (*LENGTHS, len(data), len(data))
                    LIBC.bind(self._fd(), self._pointer(data), self._chance.choice(lengths))
                case 4:
                    LIBC.listen(self._fd(), self._chance.choice(NUMBERS))
                case 5:
                    LIBC.shutdown(self._fd(), self._chance.choice((0, 1, 2, 3, -1)))
                case 6:
                    LIBC.unlink(self._pointer(self._path() + b"\0"))
                case _:
                    folder = self._chance.choice((*DIRECTORIES, *self._kept))
                    path = self._pointer(self._path() + b"\0")
                    LIBC.unlinkat(folder, path, self._chance.choice(FLAGS))

    def _others(self) -> None:
        for fd in self._kept:
            os.close(fd)
        self._kept = [fd for _ in range(4) for fd in some(self._chance)]
        for family in (socket.AF_INET, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            self._kept.append(socket.socket(family).detach())
        self._left = EVERY

    def _fd(self) -> int:
        return self._chance.choice((*self._kept, *self._kept, *NUMBERS))

    def _pointer(self, data: bytes) -> int:
        """Of the data; one time in three of something else."""
        data = data[:SIZE]
        at = ctypes.addressof(self._buffer)
        match self._chance.randrange(6):
            case 0:
                return self._chance.choice(EDGES)
            case 1:
                # The end of the buffer, and what comes after it.
                at += SIZE - min(len(data), self._chance.randrange(1, 9))
                data = data[: ctypes.addressof(self._buffer) + SIZE - at]
        ctypes.memmove(at, data, len(data))
        return at

    def _address(self) -> bytes:
        chance = self._chance
        family = struct.pack("=H", chance.choice(FAMILIES))
        port = chance.choice((0, self._port, self._port, 65535))
        match chance.randrange(7):
            case 0:
                host = socket.inet_aton(chance.choice(HOSTS))
                return family + struct.pack("!H4s", port, host) + bytes(8)
            case 1:
                return family + struct.pack("!HI16sI", port, 0, chance.randbytes(16), 0)
            case 2:
                return struct.pack("=H", socket.AF_UNIX) + self._listener[: chance.randrange(120)]
            case 3:
                name = chance.randbytes(chance.randrange(105))
                return struct.pack("=H", socket.AF_UNIX) + b"\0sockact-fuzz" + name
            case 4:
                return family + chance.choice((b"/", b"../", b"/proc/self/root/")) * 30
            case 5:
                return family + chance.randbytes(126)
        return chance.randbytes(chance.randrange(1, 200))

    def _path(self) -> bytes:
        chance = self._chance
        folder, name = os.path.split(self._listener)
        match chance.randrange(7):
            case 0 | 1:
                return self._listener
            case 2:
                return b"/proc/self/root" + self._listener
            case 3:
                return folder + b"/x/.." * chance.randrange(700) + b"/" + name
            case 4:
                return b"/proc/self/fd/" + b"%d/" % chance.choice((0, *self._kept)) + name
            case 5:
                return b"/" * chance.randrange(1, 4200) + name
        return folder + b"/" + chance.randbytes(50).replace(b"\0", b"a").replace(b"/", b"b") + name
