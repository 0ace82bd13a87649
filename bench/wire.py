"""The bytes of one client connection, plain or in TLS. Never tries anything twice."""

from __future__ import annotations

import asyncio
import ssl
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

CHUNK = 1 << 16

T = TypeVar("T")


class Wire(Protocol):
    """A connection that is open. All calls raise OSError."""

    async def send(self, data: bytes) -> None:
        """Send everything."""

    async def receive(self, size: int) -> bytes:
        """Receive some bytes; none at the end."""

    def close(self) -> None:
        """Close at once."""


class Plain:
    """A non-blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def receive(self, size: int) -> bytes:
        return await self._loop.sock_recv(self._sock, size)

    def close(self) -> None:
        self._sock.close()


@cache
def _context() -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname = False
    found.verify_mode = ssl.CERT_NONE
    return found


class Tls:
    """TLS on a non-blocking socket: a new session each, for a certificate of any kind."""

    def __init__(self, sock: socket.socket) -> None:
        self._plain = Plain(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context().wrap_bio(self._incoming, self._outgoing)

    async def shake_hands(self) -> None:
        """Agree on the keys, before the first `send`."""
        await self._until_done(self._tls.do_handshake)

    async def send(self, data: bytes) -> None:
        await self._until_done(lambda: self._tls.write(data))

    async def receive(self, size: int) -> bytes:
        try:
            return await self._until_done(lambda: self._tls.read(size))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def close(self) -> None:
        self._plain.close()

    async def _until_done(self, call: Callable[[], T]) -> T:
        while True:
            try:
                result = call()
            except ssl.SSLWantReadError:
                await self._flush()
                if data := await self._plain.receive(CHUNK):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._plain.send(data)
