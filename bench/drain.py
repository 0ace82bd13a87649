"""What a drain costs: the time that its end takes, and the supervisor's share of a core until then.

The program that drains dies at once on SIGTERM, so that its end tells when the signal came.
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
    from types import TracebackType

# Answers each line; "wait" is left without one, "last" ends the connection.
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
    """The server under sockact. Use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.address = "127.0.0.1", wait.free_port()
        command = [sys.executable, "-c", SERVER, str(self.address[1])]
        options = ("--drain-timeout", DRAIN_TIMEOUT)
        listen = (f"127.0.0.1:{self.address[1]}",)
        self.service = Service(command, folder=folder, listen=listen, options=options)

    def __enter__(self) -> Served:
        self.service.wait_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.service.process.poll() is None:
            self.service.run("stop", self.service.name, "--now")
            self.service.process.wait(END_TIMEOUT)
        self.service.close()

    def connect(self, *lines: bytes) -> socket.socket:
        """A connection that has got an answer to each line but `wait`."""
        client = connect(self.address)
        for line in lines:
            client.sendall(line + b"\n")
            if line != b"wait":
                client.recv(100)
        return client

    def reload(self) -> int:
        """The pidfd of the generation that drains now; its gate is closed."""
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
    """Seconds from the end of the last busy connection, as its client sees it, to SIGTERM."""
    pidfd = served.reload()
    try:
        # In the middle of the drain, not in the moment after the gate has closed.
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
    """Seconds to SIGTERM, over a number of drains."""

    name: str
    median: float
    worst: float
    drains: int


def ends(drains: int, close: bool) -> Ends:
    """Of drains that wait for one answer; does the client close its side, too?"""
    times = []
    with temporary() as folder, Served(folder) as served:
        for _ in range(drains):
            times.append(_end(served, served.connect(b"wait"), close))
            served.service.wait_drained()
    name = "the client closes, too" if close else "the client leaves its side open"
    return Ends(name, statistics.median(times), max(times), drains)


class Newcomers:
    """Opens so many connections in a second, in a thread, each for one answer."""

    def __init__(self, served: Served, per_second: int) -> None:
        self._served = served
        self._interval = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers = 0

    def __enter__(self) -> Newcomers:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
    """A drain with so many open connections."""

    connections: int
    newcomers: float  # per second, to the successor
    share: float  # of one core, the supervisor's
    longest: float  # seconds from the end of the last busy one to SIGTERM, the quiet ones open


def crowd(connections: int, seconds: float) -> Crowd:
    """A third of the connections busy, fresh and quiet each; one in a hundred ends each second."""
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
        # The server's own work on so many ends is not what is measured.
        rest(2.0)
        needing.pop().close()
        ended = time.monotonic()
        if not wait.readable(pidfd, timeout=END_TIMEOUT):
            raise TimeoutError("the drain did not end")
        return Crowd(connections, rate, spent / passed, time.monotonic() - ended)
