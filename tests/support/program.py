"""Programs of a few lines, a client for them, and a load of new connections.

A program file is replaced in one step, so that the next launch finds the next version.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SERVE = """
import os, signal, socket, subprocess, sys, threading, time

def serve(connection):
    with connection:
        words = connection.recv(100).split()
        if words[:1] == [b"slow"]:
            time.sleep(float(words[1]))
        connection.sendall(VERSION)

def bound(address=("127.0.0.1", PORT), family=socket.AF_INET):
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen()
    return listener

def accept(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,)).start()
"""

GOOD = "accept(bound())\n"


class Program:
    """A program file; by default a server that responds with its version."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port = wait.free_port() if port is None else port
        self.path = folder / "program.py"
        self.publish("1")

    @property
    def command(self) -> list[str]:
        """The command that runs it."""
        return [sys.executable, str(self.path)]

    @property
    def listen(self) -> tuple[str, ...]:
        """Its address for --listen."""
        return (f"127.0.0.1:{self.port}",)

    def publish(self, version: str, body: str = GOOD) -> None:
        """Put a version on disk: `body` follows SERVE, and knows VERSION and PORT."""
        head = f"PORT = {self.port}\nVERSION = {version.encode()!r}\n"
        self.write(head + SERVE + body)

    def write(self, text: str) -> None:
        """Replace the file."""
        following = self.path.with_suffix(".next")
        following.write_text(text)
        os.replace(following, self.path)

    def ask(self, command: str = "fast", timeout: float = wait.TIMEOUT) -> str:
        """The answer on a new connection; raises OSError, also when there is none."""
        return ask(("127.0.0.1", self.port), command, timeout)

    def in_flight(self, seconds: float) -> socket.socket:
        """A request that it answers after this time."""
        sock = connect(("127.0.0.1", self.port))
        sock.sendall(f"slow {seconds}".encode())
        return sock


def connect(address: tuple[str, int] | str | bytes, timeout: float = wait.TIMEOUT) -> socket.socket:
    """A connected stream socket."""
    family = socket.AF_UNIX
    if isinstance(address, tuple):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def ask(
    address: tuple[str, int] | str | bytes, command: str = "fast", timeout: float = wait.TIMEOUT
) -> str:
    """The answer on a new connection; raises OSError, also when there is none."""
    with connect(address, timeout) as sock:
        sock.sendall(command.encode())
        return read_all(sock)


def read_all(sock: socket.socket) -> str:
    """Everything up to the end; raises ConnectionError when that is nothing."""
    data = b""
    while chunk := sock.recv(1 << 16):
        data += chunk
    if not data:
        raise ConnectionError("end of file instead of an answer")
    return data.decode()


class Hammer:
    """Clients that open one new connection after the other, and count each failure."""

    def __init__(
        self,
        port: int,
        clients: int = 2,
        pause: float = 0.003,
        command: str = "fast",
        timeout: float = wait.TIMEOUT,
    ) -> None:
        self.failures: list[str] = []
        self.answers: Counter[str] = Counter()
        self._port = port
        self._pause = pause
        self._command = command
        self._timeout = timeout
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> Hammer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, version: str, timeout: float = wait.TIMEOUT) -> None:
        """Return when this version answers now."""
        before = self.answers[version]
        wait.until(lambda: self.answers[version] > before, f"an answer of {version}", timeout)

    def _ask(self) -> str:
        return ask(("127.0.0.1", self._port), self._command, self._timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers[self._ask()] += 1
            except OSError as error:
                self.failures.append(repr(error))
            self._stop.wait(self._pause)


def running(pids: Iterable[int]) -> list[int]:
    """The processes that still exist."""
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
