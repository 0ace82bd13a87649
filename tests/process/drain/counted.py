"""A server in a child process, its clients, and the counting of its drain."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from sockact.core.connections import Rules
from sockact.core.lifecycle.model import Gate, Policy
from sockact.handover import census
from sockact.handover.gate import at_rest
from sockact.kernel.sockets import listener as listeners
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.gates.drain_census import DrainCensus
from sockact.supervisor.gates.gates import Gates
from sockact.supervisor.gates.websockets import WebSockets
from sockact.supervisor.processes.processes import Processes
from sockact.supervisor.processes.shim_calls import ShimCalls
from tests.support import lanes, wait
from tests.support.child import child

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from sockact.core.lifecycle.events import Census

# Reads what comes, answers only "ask", and closes when its client does.
SERVER = """
e = select.epoll(); e.register(fd, 1); listener.setblocking(False); kept = {}
while True:
    for n, _ in e.poll():
        if n == fd:
            connection, _ = listener.accept()
            kept[connection.fileno()] = connection
            e.register(connection, 1)
            continue
        data = kept[n].recv(99)
        if data == b"ask":
            kept[n].sendall(b"answer")
        if not data:
            e.unregister(n)
            kept.pop(n).close()
"""


class Drain:
    """Generation 1, a child of ours, with its gate closed and its connections counted."""

    def __init__(
        self,
        sock: socket.socket,
        process: subprocess.Popen[bytes],
        closed: bool = True,
        policy: Policy | None = None,
    ) -> None:
        self.loop = Loop()
        processes = Processes("nobody")
        processes.add(process.pid, 1)
        found = [listeners.of_socket("web", sock, owned=True)]
        self._calls = ShimCalls(
            self.loop, f"sockact-test-{process.pid}", lambda _: 1, lambda *_: None, lambda *_: None
        )
        self.moved: list[Gate] = []
        gates = Gates(
            processes,
            self._calls,
            found,
            lanes.shared(found),
            lanes.admission(found),
            lambda _number, gate, _why: self.moved.append(gate),
            lambda _number, _message: None,
        )
        self.said: list[str] = []
        self.announced: list[Census] = []
        self._gates = gates
        self._closed = False
        self.counting = DrainCensus(
            self.loop,
            processes,
            gates,
            WebSockets(gates.orders),
            found,
            policy or Policy(),
            lambda _number: Rules(),
            lambda _number: False,
            lambda _number: (),
            lambda _number: self._closed,
            self._announced,
            lambda _n, what: self.said.append(what),
        )
        if closed:
            self.close_gate()

    def close_gate(self) -> None:
        """From outside, whatever the program does meanwhile."""
        self._gates.close(1)
        assert self.moved == [Gate.CLOSED]
        self._closed = True

    def count(self) -> Census:
        return self.counting.count(1, self._closed)

    def _announced(self, found: Census) -> None:
        self.announced.append(found)
        self.loop.stop()

    def wait_announced(self) -> Census:
        """The count after the kernel has announced something."""
        late = self.loop.at(time.monotonic() + wait.TIMEOUT, self.loop.stop)
        before = len(self.announced)
        self.loop.run()
        late.cancel()
        assert len(self.announced) == before + 1
        return self.announced[-1]

    def count_when_due(self, last: Census) -> Census:
        """The next count, at the time that the previous one asked for."""
        assert last.look_in is not None
        self.loop.at(time.monotonic() + last.look_in, self.loop.stop)
        self.loop.run()
        return self.count()

    def wait_idle(self) -> Census:
        def idle() -> Census | None:
            found = self.count()
            return None if found.busy or found.fresh else found

        return wait.until(idle, "nothing to be busy or fresh")

    def wait_settled(self) -> Census:
        def settled() -> Census | None:
            found = self.count()
            return found if found.settled else None

        return wait.until(settled, "it to be settled")

    def close(self) -> None:
        self.counting.forget(1)
        self._calls.close()
        self.loop.close()


@contextmanager
def serving(family: socket.AddressFamily, address: tuple[str, int] | str) -> Iterator[Serving]:
    with socket.create_server(address, family=family) as listener:
        with child(SERVER, listener) as process:
            made = Serving(listener, process)
            try:
                yield made
            finally:
                made.close()


class Serving:
    """A server in a child, its clients, and its drain."""

    def __init__(self, listener: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.listener = listener
        self.process = process
        self.clients: list[socket.socket] = []
        self._drains: list[Drain] = []

    def connect(self, *requests: bytes) -> socket.socket:
        """A connection that the server has accepted."""
        client = socket.socket(self.listener.family)
        client.settimeout(wait.TIMEOUT)
        client.connect(self.listener.getsockname())
        self.clients.append(client)
        client.sendall(b"ask")
        assert client.recv(99) == b"answer"
        for request in requests:
            client.sendall(request)
        return client

    def open(self) -> int:
        """The number of connections of the server."""
        found = listeners.of_socket("web", self.listener, owned=True)
        return census.count_fully([self.process.pid], [found]).counts.total

    def stop(self) -> None:
        """Stop the process when it waits for connections, and has none."""
        self.connect().close()
        wait.until(lambda: not self.open(), "the server to close it")
        self.process.send_signal(signal.SIGSTOP)
        wait.until(lambda: not at_rest(self.process.pid, set()), "it to be stopped")

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def drain(self, closed: bool = True, policy: Policy | None = None) -> Drain:
        made = Drain(self.listener, self.process, closed, policy)
        self._drains.append(made)
        return made

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for drain in self._drains:
            drain.close()


@pytest.fixture
def server() -> Iterator[Serving]:
    with serving(socket.AF_INET, ("127.0.0.1", 0)) as made:
        yield made
