"""Who waits to be accepted, and who only looks like it: the same inode 0, in another state."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from sockact.core.matching import Kind
from sockact.handover.stuck import longest_wait
from sockact.kernel import listener as listeners
from sockact.kernel import sock_diag
from sockact.supervisor import tcp_probe
from tests.support import wait
from tests.support.child import child

if TYPE_CHECKING:
    from collections.abc import Iterator

HANGS_UP = "while True: listener.accept()[0].close()"
OLD = 300  # ms


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def test_an_answer_that_its_client_does_not_read_is_no_wait(listener: socket.socket) -> None:
    """The server has closed it; the kernel keeps it for what is not sent yet."""
    with socket.create_connection(listener.getsockname()) as slow:
        slow.sendall(b"GET")
        served, _ = listener.accept()
        served.setblocking(False)
        with served:
            assert served.recv(9) == b"GET"
            fill(served)
        port = listener.getsockname()[1]

        def aged() -> bool:
            found = sock_diag.tcp_connections(socket.AF_INET, port)
            return any(one.inode == 0 and one.last_received >= OLD for one in found)

        wait.until(aged, "the closed connection to be old")
        began = time.monotonic()
        with socket.create_connection(listener.getsockname()):
            found = listeners.of_socket("web", listener, owned=True)
            assert found.address.kind is Kind.STREAM
            waited = longest_wait([found])
            assert waited <= time.monotonic() - began + 0.1


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
