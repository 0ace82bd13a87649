"""Clients on kept connections that go on asking."""

from __future__ import annotations

import http.client
import random
import socket
import threading
from typing import TYPE_CHECKING

from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LONGEST_PAUSE = 0.05


def ask(connection: socket.socket, request: bytes = REQUEST) -> bytes:
    """The body of the answer; the connection is kept."""
    connection.sendall(request)
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.status == 200
    assert not response.will_close, "the server ends the connection"
    return response.read()


class Visitors:
    """Threads, each with one connection. Use it as a context manager: at its end, none has failed
    and each has the connection that it began with.
    """

    def __init__(
        self, address: tuple[str, int], count: int, visit: Callable[[socket.socket], object]
    ) -> None:
        """`visit` is called again and again with the connection of each."""
        self._end = threading.Event()
        self._visit = visit
        self.visits = [0] * count
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._run, args=[address, number]) for number in range(count)
        ]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        assert not self.failures, self.failures

    def _run(self, address: tuple[str, int], number: int) -> None:
        choose = random.Random(number)
        try:
            with socket.create_connection(address, wait.TIMEOUT) as client:
                while not self._end.is_set():
                    self._visit(client)
                    self.visits[number] += 1
                    self._end.wait(choose.uniform(0, LONGEST_PAUSE))
        except Exception as error:
            self.failures.append(f"client {number} after {self.visits[number]} visits: {error!r}")

    def wait_for(self, times: int) -> None:
        """Wait until each has visited the server so many times more."""
        wanted = [before + times for before in self.visits]
        wait.until(
            lambda: self.failures or all(a >= b for a, b in zip(self.visits, wanted, strict=True)),
            "visits",
        )
        assert not self.failures, self.failures
