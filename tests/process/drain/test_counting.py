"""How a drain is counted: when the supervisor looks, and when a drain is settled."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from sockact.core.connections import PATIENCE, UNANNOUNCED, Rules
from sockact.core.lifecycle.model import Gate, Policy
from sockact.handover import census
from sockact.handover.gate import at_rest
from sockact.kernel.sockets import listener as listeners
from sockact.kernel.sockets.tcp_destroy import Destroyed
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.gates.drain_census import DrainCensus
from sockact.supervisor.gates.gates import Gates
from sockact.supervisor.gates.websockets import WebSockets
from sockact.supervisor.processes.processes import Processes
from sockact.supervisor.processes.shim_calls import ShimCalls
from tests.support import wait
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
            WebSockets(self._calls, gates),
            found,
            policy or Policy(),
            lambda _number: Rules(),
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
        return census.look([self.process.pid], [found]).counts.total

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


def test_one_busy_connection_is_witness_enough(server: Serving) -> None:
    for _ in range(20):
        server.connect(b"wait")
    drain = server.drain()
    for _ in range(50):
        assert drain.count().busy
    assert drain.counting.full_counts == 1


def test_another_connection_becomes_the_witness(server: Serving) -> None:
    for _ in range(20):
        server.connect(b"wait")
    drain = server.drain()
    assert drain.count().busy
    survivor = server.clients.pop(7)
    while server.clients:
        server.clients.pop().close()
    wait.until(lambda: server.open() == 1, "the others to end")
    assert drain.count().busy
    assert drain.counting.full_counts == 1
    survivor.close()
    assert drain.wait_settled()


def test_the_end_of_the_last_connection_is_announced(server: Serving) -> None:
    client = server.connect(b"wait")
    drain = server.drain()
    look_in = drain.count().look_in
    assert look_in is not None
    assert look_in > UNANNOUNCED
    client.close()
    drain.wait_announced()
    assert drain.wait_settled().quiet == 0
    assert not drain.counting._drains[1].witnesses


def test_other_connections_are_not_announced(server: Serving) -> None:
    """The successor's connections, on the same port."""
    client = server.connect(b"wait")
    drain = server.drain()
    assert drain.count().busy
    listener = server.listener
    for _ in range(50):
        with socket.create_connection(listener.getsockname()), listener.accept()[0]:
            pass
    client.close()
    drain.wait_announced()
    assert len(drain.announced) == 1


def test_a_witness_that_cannot_be_announced_is_looked_at_often(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_self: Destroyed, _family: int) -> None:
        raise PermissionError

    monkeypatch.setattr(Destroyed, "__init__", refused)
    server.connect(b"wait")
    drain = server.drain()
    assert drain.count().look_in == UNANNOUNCED
    assert drain.counting.full_counts == 1
    server.clients.pop().close()
    assert drain.wait_settled()


def test_where_the_loop_has_no_room_for_it_a_witness_is_looked_at_often(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's limit of epoll entries for each user (epoll(7), max_user_watches)."""
    server.connect(b"wait")
    drain = server.drain()
    with monkeypatch.context() as patch:
        patch.setattr(drain.loop, "watch", full)
        for _ in range(2):
            assert drain.count().look_in == UNANNOUNCED
    look_in = drain.count().look_in
    assert look_in is not None
    assert look_in > UNANNOUNCED, "it is tried again"
    server.clients.pop().close()
    drain.wait_announced()


def full(*_watch: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_unix_connections_are_looked_at_often(folder: object) -> None:
    with serving(socket.AF_UNIX, f"{folder}/s") as server:
        client = server.connect()
        drain = server.drain()
        for _ in range(20):
            found = drain.count()
            assert (found.busy, found.look_in) == (1, UNANNOUNCED)
        assert drain.counting.full_counts == 1
        client.close()
        assert drain.wait_settled()


def test_full_counts_use_a_bounded_share_of_a_core(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that end as soon as they are found do not cause constant counting."""
    monkeypatch.setattr(census.Witness, "look", lambda _self: None)
    server.connect(b"wait")
    drain = server.drain()
    for _ in range(3):
        spent = time.process_time()
        found = drain.count()
        spent = time.process_time() - spent
        assert found.busy
    assert drain.counting.full_counts == 1
    assert found.look_in


def test_an_idle_generation_stays_idle_however_expensive_a_count_is(server: Serving) -> None:
    """Two idle counts in a row end a drain whose gate cannot be moved."""
    server.connect().close()
    wait.until(lambda: not server.open(), "the server to close it")
    drain = server.drain(closed=False, policy=Policy(census_share=0.01))
    wait.until(lambda: at_rest(server.process.pid, set()), "it to be at rest")
    found = drain.wait_idle()
    for _ in range(3):
        found = drain.count_when_due(found)
        assert not found.busy
        assert not found.settled


def test_a_stopped_process_has_not_come_to_rest(server: Serving) -> None:
    """It may have been told of a connection before its gate closed."""
    server.stop()
    drain = server.drain()
    assert not drain.count().settled
    assert drain.count().busy
    server.go_on()
    assert drain.wait_settled()


def test_rest_before_the_gate_closed_says_nothing(server: Serving) -> None:
    server.connect().close()
    wait.until(lambda: not server.open(), "the server to close it")
    drain = server.drain(closed=False)
    drain.wait_idle()
    wait.until(lambda: at_rest(server.process.pid, set()), "it to be at rest")
    drain.wait_idle()
    server.stop()
    drain.close_gate()
    assert drain.count().busy
    server.go_on()
    assert drain.wait_settled()


@pytest.mark.slow
def test_waiting_for_rest_is_bounded(server: Serving) -> None:
    server.stop()
    drain = server.drain()
    began = time.monotonic()
    drain.count()
    assert drain.count().busy
    assert not drain.wait_idle().settled
    assert time.monotonic() - began >= PATIENCE
    server.go_on()


def test_an_open_gate_is_never_settled(server: Serving) -> None:
    drain = server.drain(closed=False)
    for _ in range(5):
        assert not drain.wait_idle().settled
