"""The census of connections in a known state."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.core.connections import Activity, classify
from sockact.handover import census
from sockact.kernel.sockets import listener as listeners
from sockact.kernel.sockets import sock_diag
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sockact.core.connections import Connection

Pair = tuple[socket.socket, socket.socket]


class Server:
    """A listener, and both ends of its connections."""

    def __init__(self, sock: socket.socket) -> None:
        self.listener = listeners.of_socket("web", sock, owned=True)
        self._ends: list[socket.socket] = []

    def connect(self) -> Pair:
        client = socket.socket(self.listener.socket.family)
        client.connect(self.listener.socket.getsockname())
        server, _ = self.listener.socket.accept()
        self._ends += [client, server]
        return client, server

    def state(self, pair: Pair) -> Connection:
        inode = os.fstat(pair[1].fileno()).st_ino
        sock = self.listener.socket
        found = sock_diag.tcp_connections(sock.family, sock.getsockname()[1])
        return next(c for c in found if c.inode == inode)

    def close(self) -> None:
        for end in self._ends:
            end.close()
        self.listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(socket.create_server(("127.0.0.1", 0)))
    yield made
    made.close()


def exchange(pair: Pair) -> None:
    client, server = pair
    client.sendall(b"request")
    server.recv(99)
    server.sendall(b"answer")
    client.recv(99)


def test_nothing_sent_is_fresh(server: Server) -> None:
    assert classify(server.state(server.connect())) is Activity.FRESH


def test_unread_is_busy(server: Server) -> None:
    pair = server.connect()
    pair[0].sendall(b"request")
    state = server.state(pair)
    assert state.unread == 7
    assert classify(state) is Activity.BUSY


def test_read_and_not_answered_is_busy(server: Server) -> None:
    pair = server.connect()
    pair[0].sendall(b"request")
    pair[1].recv(99)
    assert classify(server.state(pair)) is Activity.BUSY


def test_an_answer_that_the_client_does_not_read_is_busy(server: Server) -> None:
    pair = server.connect()
    pair[0].sendall(b"request")
    pair[1].recv(99)
    pair[1].setblocking(False)
    while wait.writable(pair[1].fileno()):
        pair[1].send(bytes(1 << 16))
    state = server.state(pair)
    assert state.unsent > 0
    assert classify(state) is Activity.BUSY


@pytest.mark.slow
def test_answered_is_quiet_and_asked_again_is_busy_even_within_one_tick(server: Server) -> None:
    """The client's next request follows the answer at once, so that both ages are equal."""
    answered, asked_again, once = server.connect(), server.connect(), server.connect()
    for pair in (answered, asked_again):
        for _ in range(20):
            exchange(pair)
    asked_again[0].sendall(b"request")
    asked_again[1].recv(99)
    exchange(once)
    wait.until(
        lambda: classify(server.state(answered)) is Activity.QUIET, "the answered one to be quiet"
    )
    wait.until(lambda: classify(server.state(once)) is Activity.QUIET, "the first one to be quiet")
    assert classify(server.state(asked_again)) is Activity.BUSY


def test_counts_go_to_the_generation_that_has_the_connection(server: Server) -> None:
    server.connect()
    pair = server.connect()
    pair[0].sendall(b"request")
    queued = socket.create_connection(server.listener.socket.getsockname())
    with queued:
        counts = census.count({1: [os.getpid()], 2: []}, [server.listener])
    assert counts == {1: census.Counts(busy=1, fresh=1), 2: census.Counts()}


@pytest.mark.parametrize("name", ["path", "abstract"])
def test_an_open_unix_connection_is_busy(name: str, folder: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(folder / "s") if name == "path" else "\0" + folder.name)
    sock.listen()
    made = Server(sock)
    try:
        made.connect()
        counts = census.count({1: [os.getpid()]}, [made.listener])
        assert counts == {1: census.Counts(busy=1)}
    finally:
        made.close()


def test_datagrams_have_no_connections() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    made = Server(sock)
    try:
        assert census.count({1: [os.getpid()]}, [made.listener]) is None
    finally:
        made.close()


def test_the_accept_queue_is_counted(server: Server) -> None:
    assert listeners.accept_queue(server.listener) == (0, 128)
    with socket.create_connection(server.listener.socket.getsockname()):
        wait.until(
            lambda: listeners.accept_queue(server.listener) == (1, 128), "the queue to be seen"
        )


def test_a_connection_is_found_again_until_no_process_has_it(server: Server) -> None:
    others = [server.connect() for _ in range(3)]
    pair = server.connect()
    pair[0].sendall(b"request")
    identity = server.state(pair).identity

    def again() -> Connection | None:
        return sock_diag.tcp_connection(server.listener.socket.family, identity)

    found = again()
    assert found is not None
    assert found.unread == 7
    assert found.identity == identity
    pair[1].recv(99)
    found = again()
    assert found is not None
    assert classify(found) is Activity.BUSY
    # The server has closed it, the client has not: whatever is on its way, no process has to be
    # there for it.
    pair[1].close()
    assert again() is None
    pair[0].close()
    assert again() is None
    assert all(server.state(other).identity != identity for other in others)


def test_one_ipv4_connection_of_a_dual_stack_listener() -> None:
    made = Server(socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))
    try:
        port = made.listener.socket.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            pair, _ = made.listener.socket.accept()
            with pair:
                (found,) = sock_diag.tcp_connections(socket.AF_INET6, port)
                again = sock_diag.tcp_connection(socket.AF_INET6, found.identity)
                assert again is not None
                assert again.inode == os.fstat(pair.fileno()).st_ino
    finally:
        made.close()


def test_the_witness_is_the_connection_that_can_be_quiet_last(server: Server) -> None:
    asked, *answered = (server.connect() for _ in range(3))
    for pair in answered:
        exchange(pair)
    wait.until(lambda: all(server.state(pair).last_sent for pair in answered), "the clock to tick")
    asked[0].sendall(b"request")
    found = census.count_fully([os.getpid()], [server.listener])
    assert found.counts == census.Counts(busy=3)
    assert found.holders.keys() == {os.getpid()}
    last = found.witnesses[-1].connection
    assert last.inode == os.fstat(asked[1].fileno()).st_ino


def test_a_unix_witness(folder: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(folder / "s"))
    sock.listen()
    made = Server(sock)
    try:
        client, server = made.connect()
        (witness,) = census.count_fully([os.getpid()], [made.listener]).witnesses
        assert witness.look() is witness
        client.close()
        assert witness.look() is witness
        server.close()
        assert witness.look() is None
    finally:
        made.close()
