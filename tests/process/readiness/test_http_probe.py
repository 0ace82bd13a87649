"""The HTTP probe, run as the supervisor runs it, with slow responses."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.probes import http_probe

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Server:
    """Answers the first client with `first`, then with one byte after the other, without end."""

    def __init__(self) -> None:
        self.first = HEAD
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        try:
            client = self._listener.accept()[0]
        except OSError:
            return
        with client:
            try:
                client.sendall(self.first)
                while not self._over.wait(0.02):
                    client.sendall(b"x")
            except OSError:
                return


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def probe(port: int, *more: str) -> tuple[int, str]:
    command = (sys.executable, "-I", "-S", http_probe.__file__, f"http://127.0.0.1:{port}/", *more)
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_body_that_nobody_asked_for_may_never_end(server: Server) -> None:
    assert probe(server.port, "20", "200", "200") == (0, "")


@pytest.mark.parametrize("first", [HEAD, b"", b"HTTP/1.1 200 OK\r\nX: "])
def test_an_answer_in_drops_is_too_late(server: Server, first: bytes) -> None:
    server.first = first
    assert probe(server.port, "0.3", "200", "200", "ready") == (1, "took more than 0.3 s")


def test_the_text_that_is_missing_comes_last(server: Server) -> None:
    """The supervisor shows the beginning of the line."""
    server.first = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"
    assert probe(server.port, "20", "200", "200", "ready") == (
        1,
        "the response body does not contain 'ready'",
    )
