"""A load client that counts every failure, and tries nothing twice.

    python -m bench.process 127.0.0.1:8000 --seconds 10 new:8 keep-alive:4:0.005 slow:2 stream:2

The clients of a load run in one asyncio loop, in a process of their own (bench/process.py), so
that they share no GIL with what measures them. A client obeys `Connection: close`, and any close
that the answer announces, by opening a new connection. Everything else that ends a connection is a
failure, also on a connection that was reused.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from bench.exchange import Answer, Failed, HttpConnection, Target, classify
from bench.tally import Failure, Report, Tally
from tests.servers.apps import answers

if TYPE_CHECKING:
    from collections.abc import Iterator

# After a failure a client waits this long: a refused client must not become the fastest one.
PAUSE_AFTER_FAILURE = 0.01


class Kind(Enum):
    """How a client behaves."""

    NEW = "new"  # a new connection for each short request
    KEEP_ALIVE = "keep-alive"
    SLOW = "slow"  # an answer that comes after 2 s
    STREAM = "stream"  # an answer that takes 5 s to send
    READ_SLOWLY = "read-slowly"  # a big answer that the client takes 5 s to read
    LINE = "line"  # the line protocol: one command for each connection
    LINE_SLOW = "line-slow"
    LINE_STREAM = "line-stream"
    DATAGRAM = "datagram"


SHORT = frozenset({Kind.NEW, Kind.LINE, Kind.DATAGRAM})
LONG = frozenset(
    {Kind.SLOW, Kind.STREAM, Kind.READ_SLOWLY, Kind.LINE_SLOW, Kind.LINE_STREAM},
)


@dataclass(frozen=True)
class Load:
    """A number of clients of one kind. Times are in seconds."""

    kind: Kind
    clients: int
    pause: float = 0.0  # between the end of one request and the next
    timeout: float = 15.0
    path: str = ""  # another one than the kind's own

    @property
    def label(self) -> str:
        """The name of its tally."""
        pause = f" {self.pause * 1000:g} ms" if self.kind is Kind.KEEP_ALIVE else ""
        return self.kind.value + pause


@dataclass(frozen=True)
class Plan:
    """Loads on one target, until told to stop and never longer than `seconds`."""

    target: str
    loads: tuple[Load, ...]
    seconds: float


class Client:
    """One client: request after request until the stop event, each counted once."""

    def __init__(self, load: Load, target: Target, tally: Tally, stop: asyncio.Event) -> None:
        self.load = load
        self.target = target
        self._tally = tally
        self._stop = stop
        # Set when a request is under way and, for a short one, when the first was answered.
        self.going = asyncio.Event()

    async def run(self) -> None:
        """Ask until told to stop; the request under way is finished first."""
        try:
            while not self._stop.is_set():
                good = await self._count()
                await self._rest(self.load.pause if good else PAUSE_AFTER_FAILURE)
        finally:
            self.close()

    async def _count(self) -> bool:
        started = time.monotonic()
        if self.load.kind in LONG:
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
        """One request; gives the version that answered. Raises OSError or Failed."""
        raise NotImplementedError

    def close(self) -> None:
        """Drop what is open between two requests."""


class HttpClient(Client):
    """A new connection for each request; only the short ones ask the server to close it."""

    path = "/fast"
    body = "fast"
    reading_seconds = 0.0
    close_header = False

    async def once(self) -> str:
        size = 1 << 16 if self.reading_seconds else 0
        sock = await self.target.connect(socket.SOCK_STREAM, buffer=size)
        connection = HttpConnection(sock)
        try:
            answer = await connection.get(
                self.load.path or self.path, close=self.close_header, seconds=self.reading_seconds
            )
        finally:
            connection.close()
        return version_of(answer, self.body)


class NewClient(HttpClient):
    """Short requests on new connections."""

    close_header = True


class SlowClient(HttpClient):
    """Answers that come after 2 s."""

    path = "/slow"


class StreamClient(HttpClient):
    """Answers that are sent over 5 s; every line is checked."""

    path, body = "/stream", "stream"


class SlowReader(HttpClient):
    """Big answers that the client takes 5 s to read."""

    path, body = "/big", "big"
    reading_seconds = 5.0


class KeepAliveClient(Client):
    """Request after request on one connection, as long as the server allows it."""

    _connection: HttpConnection | None = None

    async def once(self) -> str:
        if self._connection is None:
            self._connection = HttpConnection(await self.target.connect(socket.SOCK_STREAM))
        answer = await self._connection.get("/fast")
        if not answer.reusable:
            self.close()
        return version_of(answer, "fast")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class LineClient(Client):
    """The line protocol: a command, its answer up to the server's close."""

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
            # Without a length, an answer that is cut short can only be told by its content.
            whole = data.endswith(b"\n") and self.body == "fast"
            raise Failed(Failure.WRONG if whole else Failure.EOF, f"got {data[-60:]!r}")
        return version


class LineSlowClient(LineClient):
    """The line protocol's answer after 2 s."""

    command = b"slow\n"


class LineStreamClient(LineClient):
    """The line protocol's answer over 5 s."""

    command, body = b"stream\n", "stream"


class DatagramClient(Client):
    """One datagram at a time from one socket; an answer that does not come is a timeout."""

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


CLIENTS: dict[Kind, type[Client]] = {
    Kind.NEW: NewClient,
    Kind.KEEP_ALIVE: KeepAliveClient,
    Kind.SLOW: SlowClient,
    Kind.STREAM: StreamClient,
    Kind.READ_SLOWLY: SlowReader,
    Kind.LINE: LineClient,
    Kind.LINE_SLOW: LineSlowClient,
    Kind.LINE_STREAM: LineStreamClient,
    Kind.DATAGRAM: DatagramClient,
}


def version_of(answer: Answer, body: str) -> str:
    """The version in a correct answer; raises Failed for another status or body."""
    if answer.status != 200:
        raise Failed(Failure.WRONG, f"status {answer.status}: {answer.body[:60]!r}")
    version = answers.check(body, answer.body)
    if version is None:
        raise Failed(Failure.WRONG, f"{len(answer.body)} bytes, ending {answer.body[-60:]!r}")
    return version


def clients(plan: Plan, report: Report, stop: asyncio.Event) -> Iterator[Client]:
    """The clients of a plan, each with its label's tally."""
    target = Target.parse(plan.target)
    for load in plan.loads:
        for _ in range(load.clients):
            yield CLIENTS[load.kind](load, target, report.tally(load.label), stop)


async def ask(target: str, kind: Kind, timeout: float = 15.0) -> str:
    """One request; gives the version that answered. Raises OSError or Failed."""
    load = Load(kind, 1)
    client = CLIENTS[kind](load, Target.parse(target), Tally(), asyncio.Event())
    try:
        async with asyncio.timeout(timeout):
            return await client.once()
    finally:
        client.close()


async def run(plan: Plan, stop: asyncio.Event, started: asyncio.Event | None = None) -> Report:
    """Carry out a plan. `started` is set when every client has got going."""
    report = Report()
    everyone = list(clients(plan, report, stop))

    async def announce() -> None:
        for client in everyone:
            await client.going.wait()
        if started is not None:
            started.set()

    async with asyncio.TaskGroup() as group:
        announcer = asyncio.create_task(announce())
        tasks = [group.create_task(client.run()) for client in everyone]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(plan.seconds):
                await stop.wait()
        stop.set()
        await asyncio.wait(tasks) if tasks else None
        announcer.cancel()
    return report
