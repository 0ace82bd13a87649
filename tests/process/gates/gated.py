"""A listener as systemd would hold it, and programs that wait for it in ways of their own."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.adoption.test_shim_wire import Program, Run

PREAMBLE = """
import os, select, signal, socket, sys, threading
listener = socket.socket(fileno=int(sys.argv[1]))
def serve(connection):
    connection.recv(4096); connection.sendall(b"%d" % os.getpid()); connection.close()
def loop():
    while True: serve(listener.accept()[0])
"""
ASYNCIO = """
import asyncio, socket, sys
async def serve(reader, writer):
    await reader.read(4096); writer.write(b"ok"); writer.close()
async def main():
    server = await asyncio.start_server(serve, sock=socket.socket(fileno=int(sys.argv[1])))
    await server.serve_forever()
asyncio.run(main())
"""
# Like gunicorn's gthread at its worker_connections, controlled by signals.
PAUSES = (
    PREAMBLE
    + """
import selectors
selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
def pause(*_): selector.unregister(listener); os.write(1, b"pauses\\n")
def resume(*_): selector.register(listener, selectors.EVENT_READ); os.write(1, b"resumes\\n")
signal.signal(signal.SIGUSR1, pause)
signal.signal(signal.SIGUSR2, resume)
while True:
    for key, _ in selector.select(): serve(listener.accept()[0])
"""
)


class Listener:
    """The listener that systemd would hold. Also its clients, and a successor that accepts."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        self.socket = sock or socket.create_server(("127.0.0.1", 0), backlog=64)
        self.fd = str(self.socket.fileno())
        self.inode = os.fstat(self.socket.fileno()).st_ino
        self.close_order = f"gate closed {self.inode}"
        self.open_order = f"gate open {self.inode}"
        self._clients: list[socket.socket] = []

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.socket.close()

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.socket.getsockname(), timeout=wait.TIMEOUT)
        self._clients.append(client)
        return client

    def ask(self) -> bytes:
        """The program's response to a new client."""
        client = self.connect()
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: client.recv(4096), b""))

    def nobody_accepts(self) -> None:
        """Several clients connect, and every connection is left for the successor."""
        number = 8
        for _ in range(number):
            self.connect()
        for _ in range(number):
            assert wait.readable(self.socket.fileno()), "the program accepted a connection"
            self.socket.accept()[0].close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def start(run: Run, listener: Listener, source: str) -> Program:
    return run("-c", source, listener.fd, pass_fds=[int(listener.fd)])


def share(run: Run, listener: Listener) -> Program:
    """An obedient program with the listener as `listener`."""
    program = run.obedient(pass_fds=[int(listener.fd)])
    program.do(f"listener = socket.socket(fileno={listener.fd})")
    return program


def waits_in_accept(pid: int, tid: int) -> bool:
    call = Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()[0]
    return call in ("43", "288", "202", "242")
