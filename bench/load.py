"""A load client that counts every failure and retries nothing.

    python -m bench.process 127.0.0.1:8000 --seconds 10 new:8 keep-alive:4:0.005 slow:2 stream:2

The clients of a load (bench/clients.py) run in one asyncio loop, in a process of their own
(bench/process.py), so that they do not share a GIL with the code that measures.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from enum import Enum
from itertools import cycle
from typing import TYPE_CHECKING

from bench.clients import (
    Client,
    DatagramClient,
    IdleFirstClient,
    KeepAliveClient,
    LineClient,
    LineSlowClient,
    LineStreamClient,
    NewClient,
    SlowClient,
    SlowReader,
    StreamClient,
    UploadClient,
)
from bench.exchange import HttpConnection, Target
from bench.fastcgi import FastCgiClient, FastCgiSlowClient, FastCgiStreamClient
from bench.rpc import RpcClient, RpcKeptClient, RpcSlowClient, RpcStreamClient
from bench.silent import EventsClient, WebSocketClient
from bench.stores import MemcachedClient, RedisClient
from bench.tally import Report, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(Enum):
    """How a client behaves."""

    NEW = "new"  # a new connection for each short request
    KEEP_ALIVE = "keep-alive"
    SLOW = "slow"  # an answer after 2 s
    STREAM = "stream"  # an answer that takes 5 s to send
    READ_SLOWLY = "read-slowly"  # a big answer that the client takes 5 s to read
    IDLE_FIRST = "idle-first"  # connects a second before it sends the short request
    UPLOAD = "upload"  # 1 MiB that the client takes 3 s to send
    LINE = "line"  # the line protocol: one command per connection
    LINE_SLOW = "line-slow"
    LINE_STREAM = "line-stream"
    DATAGRAM = "datagram"
    EVENTS = "events"  # server-sent events, with pauses of 4 s
    WEBSOCKET = "websocket"  # two messages, with 40 s between them
    RPC = "rpc"  # a new gRPC channel for each short call
    RPC_KEPT = "rpc-kept"
    RPC_SLOW = "rpc-slow"
    RPC_STREAM = "rpc-stream"
    FASTCGI = "fastcgi"  # a new connection for each short request
    FASTCGI_SLOW = "fastcgi-slow"
    FASTCGI_STREAM = "fastcgi-stream"
    MEMCACHED = "memcached"  # a new connection for each request
    REDIS = "redis"


SHORT = frozenset(
    {
        *(Kind.NEW, Kind.LINE, Kind.DATAGRAM, Kind.RPC, Kind.FASTCGI),
        *(Kind.MEMCACHED, Kind.REDIS),
    }
)
KEPT = frozenset({Kind.KEEP_ALIVE, Kind.RPC_KEPT})


@dataclass(frozen=True)
class Load:
    """Clients of one kind. Times are in seconds."""

    kind: Kind
    clients: int
    pause: float = 0.0  # between the end of one request and the next
    timeout: float = 15.0
    path: str = ""  # replaces the kind's own path
    silence: float = 0.0  # replaces the time for which the kind says or hears nothing

    @property
    def label(self) -> str:
        """The name of the tally."""
        pause = f" {self.pause * 1000:g} ms" if self.kind in KEPT else ""
        silence = f" {self.silence:g} s" if self.silence else ""
        return self.kind.value + pause + silence


@dataclass(frozen=True)
class Plan:
    """Loads on a target, or on several with commas between them, which the clients take in turns.

    They run until stopped, for `seconds` at most.
    """

    target: str
    loads: tuple[Load, ...]
    seconds: float


CLIENTS: dict[Kind, type[Client]] = {
    Kind.NEW: NewClient,
    Kind.KEEP_ALIVE: KeepAliveClient,
    Kind.SLOW: SlowClient,
    Kind.STREAM: StreamClient,
    Kind.READ_SLOWLY: SlowReader,
    Kind.IDLE_FIRST: IdleFirstClient,
    Kind.UPLOAD: UploadClient,
    Kind.LINE: LineClient,
    Kind.LINE_SLOW: LineSlowClient,
    Kind.LINE_STREAM: LineStreamClient,
    Kind.DATAGRAM: DatagramClient,
    Kind.EVENTS: EventsClient,
    Kind.WEBSOCKET: WebSocketClient,
    Kind.RPC: RpcClient,
    Kind.RPC_KEPT: RpcKeptClient,
    Kind.RPC_SLOW: RpcSlowClient,
    Kind.RPC_STREAM: RpcStreamClient,
    Kind.FASTCGI: FastCgiClient,
    Kind.FASTCGI_SLOW: FastCgiSlowClient,
    Kind.FASTCGI_STREAM: FastCgiStreamClient,
    Kind.MEMCACHED: MemcachedClient,
    Kind.REDIS: RedisClient,
}


def clients(plan: Plan, report: Report, stop: asyncio.Event) -> Iterator[Client]:
    """The clients of a plan, each with its label's tally."""
    targets = cycle(map(Target.parse, plan.target.split(",")))
    for load in plan.loads:
        for _ in range(load.clients):
            yield CLIENTS[load.kind](load, next(targets), report.tally(load.label), stop)


def first(target: str) -> Target:
    """The first of the targets."""
    return Target.parse(target.partition(",")[0])


async def ask(target: str, kind: Kind, timeout: float = 15.0) -> str:
    """Send one request to the first target; return the version that answered.

    Raises OSError or Failed.
    """
    load = Load(kind, 1)
    client = CLIENTS[kind](load, first(target), Tally(), asyncio.Event())
    try:
        async with asyncio.timeout(timeout):
            return await client.once()
    finally:
        client.close()


async def keeps(target: str, path: str = "/fast", timeout: float = 15.0) -> bool:
    """Whether the first target keeps the connection after a response. Raises OSError or Failed."""
    connection = HttpConnection(await first(target).open())
    try:
        async with asyncio.timeout(timeout):
            return (await connection.get(path)).reusable
    finally:
        connection.close()


async def run(plan: Plan, stop: asyncio.Event, started: asyncio.Event | None = None) -> Report:
    """Run a plan. `started` is set when every client is running."""
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
