"""A service whose program waits for connections in some way, and whose gate is moved by reloads."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.support import refuse, wait
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

HEAD = """
import os, select, signal, socket, sys, threading
PORT = int(sys.argv[1])
NUMBER = os.environ["SOCKACT_GENERATION"].encode()

def bound():
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # Some bind again.
    made.bind(("127.0.0.1", PORT))
    made.listen()
    return made

def serve():
    try: connection, _ = listener.accept()
    except BlockingIOError: return False
    with connection:
        connection.recv(9)
        connection.sendall(NUMBER)
    return True

def watching(flags=0):
    listener.setblocking(False)
    instance = select.epoll()
    instance.register(listener, select.EPOLLIN | flags)
    return instance

def wait_in(instance):
    while True:
        instance.poll()
        while serve(): pass

def wait_in_select():
    listener.setblocking(False)
    while True: select.select([listener], [], []), serve()

def accept():
    while True: serve()

def in_threads(work):
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

def in_workers(work):
    if all([os.fork() for _ in range(2)]):
        os.wait()
    work()

listener = bound()
"""
EPOLL = {
    "epoll": "wait_in(watching())",
    "epoll, edge-triggered": "wait_in(watching(select.EPOLLET))",
    "epoll, exclusive": "wait_in(watching(select.EPOLLEXCLUSIVE))",
    "an epoll instance for each thread": "in_threads(lambda: wait_in(watching()))",
    "an epoll instance that workers share": "e = watching(); in_workers(lambda: wait_in(e))",
}
EPOLL_WORKERS = {
    "an epoll instance for each worker": "in_workers(lambda: wait_in(watching(1 << 28)))",
}
OTHERS = {
    "poll": "p = select.poll(); p.register(listener, 1)\nwhile True: p.poll(), serve()",
    "select": "wait_in_select()",
    "accept": "accept()",
    "accept in threads": "in_threads(accept)",
    "accept in workers": "in_workers(accept)",
    "select in workers": "in_workers(wait_in_select)",
}
# A trial of the start timeout's length would be long: the test ends the successor.
OPTIONS = ("--start-timeout", "60s", "--drain-timeout", "5s", "--kill-timeout", "1s")
# With lanes, nothing in the program is touched.
GATES = ("--lanes", "off")
REFUSED = refuse.LAUNCHER
PYTHON = (sys.executable,)


class Waiting:
    """A service whose program waits for connections in some way."""

    def __init__(
        self,
        start: StartService,
        folder: Path,
        code: str,
        python: tuple[str, ...] = PYTHON,
        launcher: tuple[str, ...] = (),
        arguments: tuple[str, ...] = (),
        also: tuple[int, ...] = (),
        options: tuple[str, ...] = (),
    ) -> None:
        """`also` are ports to listen on but for its own; `options` replace those of others."""
        self.port = wait.free_port()
        self._good = folder / "good"
        self._good.touch()
        self.service: Service = start(
            [*python, "-c", HEAD + code, str(self.port), *arguments],
            listen=tuple(f"127.0.0.1:{port}" for port in (self.port, *also)),
            options=("--ready", f"exec:test -e {self._good}", *GATES, *OPTIONS, *options),
            launcher=launcher,
        )

    def connect(self, port: int = 0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port or self.port), timeout=wait.TIMEOUT)

    def answers(self, port: int = 0) -> set[bytes]:
        """The numbers of the generations that answer a handful of clients."""
        found = set()
        for _ in range(8):
            with self.connect(port) as client:
                client.sendall(b"ask")
                found.add(client.recv(9))
        return found

    def generation(self, number: int) -> dict[str, Any]:
        """Generation 1 as status shows it; empty if it does not."""
        listed = self.service.status()["generations"]
        return next((one for one in listed if one["number"] == number), {})

    def gate(self) -> tuple[str, str | None]:
        """Whether the gate of generation 1 is open, and in which way it moves."""
        found = self.generation(1)
        return found["gate"], found["gate_by"]

    def begin_trial(self) -> subprocess.Popen[bytes]:
        """A reload whose probe does not pass; returns when the gate of generation 1 has closed, or
        cannot.
        """
        self._good.unlink()
        reload = subprocess.Popen(
            [*SOCKACT, "reload", self.service.name],
            env=self.service.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

        def paused() -> bool:
            return self.gate()[0] == "closed" or "cannot be made to stop" in self.service.stderr

        wait.until(paused, "the trial")
        return reload

    def end_trial(self, reload: subprocess.Popen[bytes]) -> None:
        """Kill the successor; returns when it has gone and the gate of generation 1 is open."""
        os.kill(self.generation(2)["pid"], signal.SIGKILL)
        _, stderr = reload.communicate(timeout=30)
        assert reload.returncode == 1
        assert b"was killed by signal 9" in stderr
        wait.until(lambda: not self.generation(2), "the successor to end")
        wait.until(lambda: self.gate()[0] == "open", "the gate to open")


def closes_and_opens(waiting: Waiting, way: str) -> None:
    assert waiting.answers() == {b"1"}
    assert waiting.gate() == ("open", way)
    reload = waiting.begin_trial()
    assert waiting.gate() == ("closed", way)
    assert waiting.answers() == {b"2"}
    waiting.end_trial(reload)
    assert waiting.answers() == {b"1"}
    assert waiting.gate() == ("open", way)
    assert "cannot be moved" not in waiting.service.stderr
