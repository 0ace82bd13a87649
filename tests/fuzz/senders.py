"""What a process of the program sends: packets to the shims' socket, and notifications.

Its system calls are in calls.py.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Protocol

from tests.fuzz import calls, mutation
from tests.fuzz.descriptors import attached

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    class Sender(Protocol):
        """Sends messages of one kind."""

        def send(self, count: int) -> None:
            """Send so many."""


WORDS = (
    *("hello", "bind", "done", "error", "gate", "reopen", "drain", "inet", "inet6", "unix"),
    *("stream", "datagram", "127.0.0.1", "::1", "00", "2f746d70", "zz", "8000", "-1", "", "\x00"),
    *("99999999999999999999", "9" * 3000, "\xff", "1", "!", "a!b", "uvicorn!1.0", "x" * 4000),
)
FAMILIES, KINDS = ("inet", "inet6", "unix", "netlink"), ("stream", "datagram", "raw")
NOTIFICATIONS = (
    *(b"READY=0", b"READY=1 ", b"\nREADY=1x", b"READY=1", b"WATCHDOG=1", b"WATCHDOG=trigger"),
    *(b"STATUS=x", b"FDSTORE=1\nFDNAME=a", b"MAINPID=1", b"STOPPING=1", b"RELOADING=1", b"", b"\0"),
)
MOST_HELD = 40
IN_A_PACKET = 4096


class _Shim:
    """Packets of words on connections to the shims' socket, with descriptors that nobody wants."""

    def __init__(self, chance: random.Random, _port: int, _listener: str) -> None:
        self._chance = chance
        name, _, location = os.environ["SOCKACT_SHIM"].partition(" ")
        self._addresses = [f"\0{name}", location.partition(":")[2] or f"\0{name}"]
        self._held: list[socket.socket] = []

    def send(self, count: int) -> None:
        """Send so many, a few on each connection."""
        while count > 0:
            some = min(count, self._chance.randrange(1, 9))
            count -= some
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.settimeout(10.0)
            with contextlib.suppress(ConnectionError):
                sock.connect(self._chance.choice(self._addresses))
                self._talk(sock, some)
            if self._chance.randrange(60) == 0:
                self._held.append(sock)
            else:
                sock.close()
            if len(self._held) >= MOST_HELD:
                self._release()
        self._release()

    def _talk(self, sock: socket.socket, count: int) -> None:
        for _ in range(count):
            with attached(self._chance, 3) as ancillary:
                sock.sendmsg([self._packet()], ancillary)
        if self._chance.randrange(4) == 0:
            _data, fds, _, _ = socket.recv_fds(sock, IN_A_PACKET, 4)
            for fd in fds:
                os.close(fd)

    def _packet(self) -> bytes:
        chance = self._chance
        match chance.randrange(5):
            case 0:
                return chance.randbytes(chance.randrange(1, 5000))
            case 1:
                rest = " ".join(chance.choice(WORDS) for _ in range(chance.randrange(3)))
                head = f"bind {os.getpid()} {chance.choice(FAMILIES)} {chance.choice(KINDS)} "
                return (head + rest).encode("latin-1")
            case 2:
                bind = f"bind {os.getpid()} inet stream 127.0.0.1 8000".encode()
                return mutation.garbled(chance, bind) or b"x"
            case 3:
                return b"hello"
        return " ".join(chance.choice(WORDS) for _ in range(1, 8)).encode("latin-1") or b"x"

    def _release(self) -> None:
        for sock in self._held:
            sock.close()
        self._held.clear()


class _Notify:
    """Datagrams to the generation's $NOTIFY_SOCKET, with descriptors that nobody wants."""

    def __init__(self, chance: random.Random, _port: int, _listener: str) -> None:
        self._chance = chance
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))

    def send(self, count: int) -> None:
        """Send so many, and wait while the queue is full."""
        for _ in range(count):
            with attached(self._chance, 5) as ancillary:
                self._socket.sendmsg([self._datagram()], ancillary)

    def _datagram(self) -> bytes:
        chance = self._chance
        match chance.randrange(4):
            case 0:
                return chance.randbytes(chance.randrange(9000))
            case 1:
                return mutation.garbled(chance, chance.choice(NOTIFICATIONS))
        return b"\n".join(chance.choice(NOTIFICATIONS) for _ in range(chance.randrange(1, 5)))


SENDERS: dict[str, Callable[[random.Random, int, str], Sender]] = {
    "shim": _Shim,
    "notify": _Notify,
    "calls": calls.Calls,
}
