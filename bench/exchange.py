"""One client connection: raw non-blocking sockets, so that nothing between us and the kernel can
hide a failure, and h11 to judge the answers. Never tries anything twice.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
from dataclasses import dataclass, replace
from functools import lru_cache

import h11

from bench.tally import Failure
from bench.wire import CHUNK, Plain, Tls, Wire

# A slow reader must be the bottleneck: with the default buffers the kernel takes megabytes at once.
SLOW_READER_BUFFER = 1 << 16
SLOW_READER_STEP = 0.02
UPLOAD_STEP = 0.1

VERSION = re.compile(rb"version (\S+)")


class Failed(Exception):
    """A request failed; the tally counts it."""

    def __init__(self, failure: Failure, text: str) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text


@dataclass(frozen=True)
class Target:
    """Where to connect: written `127.0.0.1:8000`, `[::1]:8000`, `/run/x.sock` or `@abstract`, and
    with `tls:` before it for TLS.
    """

    family: socket.AddressFamily
    address: tuple[str, int] | str
    tls: bool = False

    @classmethod
    def parse(cls, text: str) -> Target:
        """Raises ValueError for anything else."""
        if text.startswith("tls:"):
            return replace(cls.parse(text.removeprefix("tls:")), tls=True)
        if text.startswith("/"):
            return cls(socket.AF_UNIX, text)
        if text.startswith("@"):
            return cls(socket.AF_UNIX, "\0" + text[1:])
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit():
            raise ValueError(f"{text!r} is not an address: write HOST:PORT or a path")
        if host.startswith("[") and host.endswith("]"):
            return cls(socket.AF_INET6, (host[1:-1], int(port)))
        return cls(socket.AF_INET, (host, int(port)))

    async def connect(self, kind: socket.SocketKind, *, buffer: int = 0) -> socket.socket:
        """A connected non-blocking socket. Raises OSError or Failed."""
        sock = socket.socket(self.family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            if self.family == socket.AF_UNIX:
                # A full queue answers EAGAIN, which asyncio would take for "in progress".
                sock.connect(self.address)
            else:
                await asyncio.get_running_loop().sock_connect(sock, self.address)
        except BaseException:
            sock.close()
            raise
        return sock

    async def open(self, *, buffer: int = 0) -> Wire:
        """A connection on which the client can speak. Raises OSError or Failed."""
        sock = await self.connect(socket.SOCK_STREAM, buffer=buffer)
        if not self.tls:
            return Plain(sock)
        wire = Tls(sock)
        try:
            await wire.shake_hands()
        except BaseException:
            wire.close()
            raise
        return wire


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer."""

    status: int
    body: bytes
    reusable: bool  # whether the server accepts another request on this connection


@lru_cache(maxsize=64)
def _request(method: str, path: str, *headers: tuple[str, str]) -> h11.Request:
    own = [("Host", "localhost"), ("User-Agent", "sockact-load"), *headers]
    return h11.Request(method=method, target=path, headers=own)


class HttpConnection:
    """An HTTP/1.1 client connection."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._http = h11.Connection(our_role=h11.CLIENT)

    def close(self) -> None:
        """Close at once, even during a request."""
        self._wire.close()

    async def get(self, path: str, *, close: bool = False, seconds: float = 0.0) -> Answer:
        """GET a path. `seconds`: read the answer slowly, so that it takes this long.

        Raises OSError, or Failed for an answer that is cut short or not HTTP.
        """
        headers = (("Connection", "close"),) if close else ()
        await self._send(_request("GET", path, *headers), h11.EndOfMessage())
        return await self._answer(path, seconds)

    async def post(self, path: str, size: int, seconds: float) -> Answer:
        """POST `size` bytes, spread over `seconds`. Raises the same as `get`."""
        await self._send(_request("POST", path, ("Content-Length", str(size))))
        steps = max(1, int(seconds / UPLOAD_STEP))
        for number in range(steps):
            part = size * (number + 1) // steps - size * number // steps
            await self._send(h11.Data(data=bytes(part)))
            await asyncio.sleep(UPLOAD_STEP)
        await self._send(h11.EndOfMessage())
        return await self._answer(path, 0.0)

    async def _send(self, *events: h11.Event) -> None:
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        # None is for a ConnectionClosed, which is never sent.
        data = b"".join(self._http.send(event) or b"" for event in events)
        if data:  # To send nothing fails, too, where the server has answered and closed.
            await self._wire.send(data)

    async def _answer(self, path: str, seconds: float) -> Answer:
        http = self._http
        status, step = 0, CHUNK
        slowly: _Slowly | None = None
        body: list[bytes] = []
        while True:
            event = self._next_event(bool(body) or status != 0)
            if event is h11.NEED_DATA:
                if slowly:
                    await slowly.wait()
                http.receive_data(await self._wire.receive(step))
            elif isinstance(event, h11.Response):
                status = event.status_code
                if seconds:
                    slowly = _Slowly(event, seconds, asyncio.get_running_loop().time())
                    step = slowly.step
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
                if slowly:
                    slowly.received += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, b"".join(body), http.their_state is h11.DONE)
            elif isinstance(event, h11.ConnectionClosed):
                raise Failed(Failure.EOF, f"closed before the answer to {path}")

    def _next_event(self, begun: bool) -> object:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            if self._http.trailing_data[1]:
                where = "in the middle of" if begun else "before"
                raise Failed(Failure.EOF, f"closed {where} the answer") from error
            raise Failed(Failure.WRONG, f"no valid HTTP: {error}") from error


class _Slowly:
    """A slow reader with a timetable: if it is late, it reads without pauses."""

    def __init__(self, response: h11.Response, seconds: float, began: float) -> None:
        self._length = int(dict(response.headers).get(b"content-length", b"0"))
        self._seconds = seconds
        self._began = began
        self.received = 0
        self.step = max(1, int(self._length * SLOW_READER_STEP / seconds))

    async def wait(self) -> None:
        """Wait until the next read is due."""
        part = min(1.0, (self.received + self.step) / max(1, self._length))
        due = self._began + self._seconds * part
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))


def classify(error: Exception) -> tuple[Failure, str]:
    """The kind of a failure, and its description."""
    if isinstance(error, Failed):
        return error.failure, error.text
    if isinstance(error, TimeoutError):
        return Failure.TIMEOUT, str(error) or "no complete answer in time"
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ssl.SSLEOFError):
        return Failure.EOF, text
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return Failure.RESET, text
    if isinstance(error, (ConnectionRefusedError, BlockingIOError, FileNotFoundError)):
        return Failure.REFUSED, text
    if isinstance(error, OSError) and error.errno == errno.ETIMEDOUT:
        return Failure.TIMEOUT, text
    return Failure.OTHER, text
