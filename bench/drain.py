"""Measures drains: how soon they end, and how much CPU time the supervisor needs for them.

The draining program dies at once on SIGTERM, so the end of its process is the time of the signal.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bare import temporary
from bench.resources import rest
from tests.support import wait
from tests.support.program import connect
from tests.support.service import Service

if TYPE_CHECKING:
    import socket

# Answers each line except "wait"; "last" ends the connection after the answer.
SERVER = """
import asyncio, sys

async def serve(reader, writer):
    while line := await reader.readline():
        if line != b"wait\\n":
            writer.write(b"answer\\n")
        if line == b"last\\n":
            break
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()

asyncio.run(main())
"""
DRAIN_TIMEOUT = "600"
END_TIMEOUT = 60.0
NEW_PER_SECOND = 1000


class Served:
    """The server under sockact. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.address = "127.0.0.1", wait.free_port()
        command = [sys.executable, "-c", SERVER, str(self.address[1])]
        options = ("--drain-timeout", DRAIN_TIMEOUT)
        listen = (f"127.0.0.1:{self.address[1]}",)
        self.service = Service(command, folder=folder, listen=listen, options=options)

    def __enter__(self) -> Served:
        self.service.wait_ready()
        return self

    def __exit__(self, *_error: object) -> None:
        if self.service.process.poll() is None:
            self.service.run("stop", self.service.name, "--now")
            self.service.process.wait(END_TIMEOUT)
        self.service.close()

    def connect(self, *lines: bytes) -> socket.socket:
        """Open a connection, send the lines, and read an answer to each except `wait`."""
        client = connect(self.address)
        for line in lines:
            client.sendall(line + b"\n")
            if line != b"wait":
                client.recv(100)
        return client

    def reload(self) -> int:
        """Reload; return the pidfd of the draining generation when its gate has closed."""
        (running,) = self.service.status()["generations"]
        pidfd = os.pidfd_open(running["pid"])
        outcome = self.service.reload()
        assert outcome.code == 0, outcome

        def closed() -> bool:
            found = self.service.status()["generations"]
            return any(g["state"] == "draining" and g["gate"] == "closed" for g in found)

        wait.until(closed, "the gate to close")
        return pidfd

    def cpu(self) -> float:
        """The supervisor's CPU time in seconds."""
        ran = Path(f"/proc/{self.service.process.pid}/schedstat").read_text().split()[0]
        return int(ran) / 1e9


def _end(served: Served, client: socket.socket, close: bool) -> float:
    """Seconds from the end of the last active connection, as its client sees it, to SIGTERM."""
    pidfd = served.reload()
    try:
        # Well into the drain, not right after the gate has closed.
        rest(0.5)
        client.sendall(b"last\n")
        while client.recv(100):
            pass
        ended = time.monotonic()
        if close:
            client.close()
        if not wait.readable(pidfd, timeout=END_TIMEOUT):
            raise TimeoutError("the drain did not end")
        return time.monotonic() - ended
    finally:
        client.close()
        os.close(pidfd)


@dataclass(frozen=True)
class Ends:
    """Times from the last active connection to SIGTERM, in seconds."""

    name: str
    median: float
    worst: float
    drains: int


def ends(drains: int, close: bool) -> Ends:
    """Measure drains that wait for one answer. `close`: the client also closes its side."""
    times = []
    with temporary() as folder, Served(folder) as served:
        for _ in range(drains):
            times.append(_end(served, served.connect(b"wait"), close))
            served.service.wait_drained()
    name = "client closes its side" if close else "client keeps its side open"
    return Ends(name, statistics.median(times), max(times), drains)


class Newcomers:
    """A thread that opens `per_second` connections per second, each for one answer."""

    def __init__(self, served: Served, per_second: int) -> None:
        self._served = served
        self._interval = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers = 0

    def __enter__(self) -> Newcomers:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._served.connect(b"last").close()
            self.answers += 1
            due += self._interval
            self._stop.wait(max(0.0, due - time.monotonic()))


@dataclass(frozen=True)
class Crowd:
    """A drain with many open connections."""

    connections: int
    newcomers: float  # connections per second, to the next generation
    share: float  # of one core, used by the supervisor
    longest: float  # seconds from the last active connection to SIGTERM, idle ones still open


def crowd(connections: int, seconds: float) -> Crowd:
    """Measure one drain: a third of the connections each is active, new and idle.

    Each second one in a hundred ends.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        folder = stack.enter_context(temporary())
        served = stack.enter_context(Served(folder))
        kinds: list[tuple[bytes, ...]] = [(b"wait",), (), (b"ask",)]
        clients = [served.connect(*kinds[n % 3]) for n in range(connections)]
        for client in clients:
            stack.callback(client.close)
        pidfd = served.reload()
        stack.callback(os.close, pidfd)
        with Newcomers(served, NEW_PER_SECOND) as newcomers:
            before, began = served.cpu(), time.monotonic()
            needing = [client for n, client in enumerate(clients) if n % 3 != 2]
            for _ in range(round(seconds)):
                for _ in range(min(connections // 100, len(needing) - 1)):
                    needing.pop().close()
                rest(1.0)
            spent, passed = served.cpu() - before, time.monotonic() - began
            rate = newcomers.answers / passed
        while len(needing) > 1:
            needing.pop().close()
        # Let the server finish its own work on the closed connections first.
        rest(2.0)
        needing.pop().close()
        ended = time.monotonic()
        if not wait.readable(pidfd, timeout=END_TIMEOUT):
            raise TimeoutError("the drain did not end")
        return Crowd(connections, rate, spent / passed, time.monotonic() - ended)
