"""Connections that wait to be accepted, and others with inode 0 in another state."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from sockact.handover.accept_queues import AcceptQueues
from sockact.kernel.sockets import listener as listeners
from sockact.kernel.sockets import sock_diag
from sockact.supervisor.probes import tcp_probe
from tests.support import wait
from tests.support.child import child

if TYPE_CHECKING:
    from collections.abc import Iterator

HANGS_UP = "while True: listener.accept()[0].close()"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def test_an_unread_response_is_not_a_waiting_client(listener: socket.socket) -> None:
    """The server has closed it; the kernel keeps it for the unsent bytes."""
    with socket.create_connection(listener.getsockname()) as slow:
        slow.sendall(b"GET")
        served, _ = listener.accept()
        served.setblocking(False)
        with served:
            assert served.recv(9) == b"GET"
            fill(served)
        wait.until(lambda: sends_on(listener), "the closed connection to be nobody's")
        with socket.create_connection(listener.getsockname()):
            web = listeners.of_socket("web", listener, owned=True)
            queues = AcceptQueues(lambda: [web])
            assert queues.stuck_for(0.0) == 0.0
            listener.accept()[0].close()
            with socket.create_connection(listener.getsockname()):
                assert queues.stuck_for(1.0) == 0.0, "it has moved"
                assert queues.stuck_for(4.0) == 3.0


def sends_on(listener: socket.socket) -> bool:
    found = sock_diag.tcp_connections(socket.AF_INET, listener.getsockname()[1])
    return any(one.inode == 0 for one in found)


def fill(served: socket.socket) -> None:
    try:
        while True:
            served.send(bytes(1 << 16))
    except BlockingIOError:
        return


def test_a_probe_that_is_accepted_and_closed_at_once(listener: socket.socket) -> None:
    host, port = listener.getsockname()
    with child(HANGS_UP, listener):
        assert [tcp_probe.main("10", host, str(port)) for _ in range(20)] == [""] * 20
