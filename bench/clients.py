"""The clients of a load: one class per behaviour, each sending request after request.

When an answer announces a close (`Connection: close`, for example), a client opens a new
connection. Any other end of a connection is a failure, also of a reused connection. No request is
retried.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

from bench.exchange import Answer, Failed, HttpConnection, Target, classify
from bench.tally import Failure, Tally
from tests.servers.apps import answers

if TYPE_CHECKING:
    from bench.load import Load

# The pause after a failure, so that a refused client does not become the fastest one.
PAUSE_AFTER_FAILURE = 0.01


class Client:
    """One client: sends requests until the stop event, and counts each once."""

    # Whether the client counts as running before its first answer, because that takes long.
    long = False

    def __init__(self, load: Load, target: Target, tally: Tally, stop: asyncio.Event) -> None:
        self.load = load
        self.target = target
        self._tally = tally
        self._stop = stop
        # Set when the client is running: for short requests, after the first answer.
        self.going = asyncio.Event()

    async def run(self) -> None:
        """Send requests until the stop event; the current request is finished first."""
        try:
            while not self._stop.is_set():
                good = await self._count()
                await self._rest(self.load.pause if good else PAUSE_AFTER_FAILURE)
        finally:
            self.close()

    async def _count(self) -> bool:
        started = time.monotonic()
        if self.long:
            self.going.set()
        try:
            async with asyncio.timeout(self.load.timeout):
                version = await self.once()
        except (OSError, Failed) as error:
            self.close()
            self._tally.failed(started, time.monotonic(), *classify(error))
            return False
        self._tally.answered(started, time.monotonic(), version)
        self.going.set()
        return True

    async def _rest(self, seconds: float) -> None:
        if not seconds:
            return
        # A pause ends early when the load does.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def once(self) -> str:
        """Send one request; return the version that answered. Raises OSError or Failed."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection that is kept between two requests."""


class HttpClient(Client):
    """A new connection per request; only short requests ask the server to close it."""

    path = "/fast"
    body = "fast"
    reading_seconds = 0.0
    close_header = False

    async def once(self) -> str:
        size = 1 << 16 if self.reading_seconds else 0
        connection = HttpConnection(await self.target.open(buffer=size))
        try:
            answer = await self.exchange(connection)
        finally:
            connection.close()
        return version_of(answer, self.body)

    async def exchange(self, connection: HttpConnection) -> Answer:
        """Send the request, read the answer."""
        return await connection.get(
            self.load.path or self.path, close=self.close_header, seconds=self.reading_seconds
        )


class NewClient(HttpClient):
    """Short requests on new connections."""

    close_header = True


class SlowClient(HttpClient):
    """Requests that are answered after 2 s."""

    long = True
    path = "/slow"


class StreamClient(HttpClient):
    """Answers that take 5 s to send; every line is checked."""

    long = True
    path, body = "/stream", "stream"


class SlowReader(HttpClient):
    """Big answers that the client takes 5 s to read."""

    long = True
    path, body = "/big", "big"
    reading_seconds = 5.0


class IdleFirstClient(NewClient):
    """Connections that send nothing for a second, and then a short request.

    In TLS they have shaken hands before.
    """

    long = True
    idle_seconds = 1.0

    async def exchange(self, connection: HttpConnection) -> Answer:
        await asyncio.sleep(self.load.silence or self.idle_seconds)
        return await super().exchange(connection)


class UploadClient(HttpClient):
    """Requests whose body of 1 MiB takes 3 s to send; the answer states its length."""

    long = True
    path, body = "/upload", "upload"
    sending_seconds = 3.0

    async def exchange(self, connection: HttpConnection) -> Answer:
        path = self.load.path or self.path
        return await connection.post(path, answers.UPLOAD_BYTES, self.sending_seconds)


class KeepAliveClient(Client):
    """Requests on one connection, for as long as the server keeps it."""

    _connection: HttpConnection | None = None

    async def once(self) -> str:
        if self._connection is None:
            self._connection = HttpConnection(await self.target.open())
        answer = await self._connection.get("/fast")
        if not answer.reusable:
            self.close()
        return version_of(answer, "fast")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class LineClient(Client):
    """The line protocol: a command, and an answer that ends when the server closes."""

    command = b"fast\n"
    body = "fast"

    async def once(self) -> str:
        loop = asyncio.get_running_loop()
        sock = await self.target.connect(socket.SOCK_STREAM)
        data = b""
        with sock:
            await loop.sock_sendall(sock, self.command)
            while chunk := await loop.sock_recv(sock, 1 << 16):
                data += chunk
        version = answers.check(self.body, data)
        if version is None:
            # The answer has no length: only its content shows whether it was cut short.
            whole = data.endswith(b"\n") and self.body == "fast"
            raise Failed(Failure.WRONG if whole else Failure.EOF, f"got {data[-60:]!r}")
        return version


class LineSlowClient(LineClient):
    """The line protocol's answer after 2 s."""

    long = True
    command = b"slow\n"


class LineStreamClient(LineClient):
    """The line protocol's answer over 5 s."""

    long = True
    command, body = b"stream\n", "stream"


class DatagramClient(Client):
    """One datagram at a time from one socket; a missing answer is a timeout."""

    _sock: socket.socket | None = None
    _number = 0

    async def once(self) -> str:
        loop = asyncio.get_running_loop()
        if self._sock is None:
            self._sock = await self.target.connect(socket.SOCK_DGRAM)
        self._number += 1
        payload = f"{self._number}\n".encode()
        await loop.sock_sendall(self._sock, payload)
        data = await loop.sock_recv(self._sock, 1 << 16)
        version = answers.check("fast", data.removesuffix(payload))
        if version is None or not data.endswith(payload):
            raise Failed(Failure.WRONG, f"got {data[:60]!r}")
        return version

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def version_of(answer: Answer, body: str) -> str:
    """The version in a correct answer; raises Failed for another status or body."""
    if answer.status != 200:
        raise Failed(Failure.WRONG, f"status {answer.status}: {answer.body[:60]!r}")
    version = answers.check(body, answer.body)
    if version is None:
        raise Failed(Failure.WRONG, f"{len(answer.body)} bytes, ending {answer.body[-60:]!r}")
    return version
