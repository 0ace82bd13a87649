"""A program that is cold at first, and records what it is asked, for tests of the warm-up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.support import wait
from tests.support.program import Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

# Answers raw clients with VERSION. HTTP requests of the second version wait for the file GATE.
COLD = """
def note(text):
    with open(LOG, "ab", buffering=0) as log:
        log.write(f"{VERSION.decode()} {text}\\n".encode())

def get(connection, path):
    pass

def serve(connection):
    with connection:
        words = connection.recv(1000).split()
        if words[:1] != [b"GET"]:
            note("client")
            connection.sendall(VERSION)
            return
        path = words[1].decode()
        note(f"{path} {connection.getpeername()[1]}")
        while VERSION != b"1" and not os.path.exists(GATE):
            time.sleep(0.01)
        status = b"500 Broken" if path == "/broken" else b"200 OK"
        if path == "/crash":
            os._exit(3)
        connection.sendall(b"HTTP/1.1 " + status + b"\\r\\nContent-Length: 2\\r\\n\\r\\nok")

accept(bound())
"""
LANES = ("--lanes", "require")


class Scene:
    """A service whose second version waits for a gate in its warm-up."""

    def __init__(self, start: StartService, folder: Path, path: str, *options: str) -> None:
        """Start the first version. `path` is warmed up, or @FILE."""
        self.program = Program(folder)
        self.log, self.gate = folder / "requests", folder / "gate"
        self.log.touch()
        self.publish("1")
        url = path if path.startswith("@") else f"http://127.0.0.1:{self.program.port}{path}"
        self.service = start(
            self.program.command,
            listen=self.program.listen,
            options=(*LANES, "--warm", url, *options),
        )
        self.publish("2")

    def publish(self, version: str) -> None:
        self.program.publish(version, f"LOG, GATE = {str(self.log)!r}, {str(self.gate)!r}\n{COLD}")

    def open(self) -> None:
        """Let the second version answer."""
        self.gate.touch()

    def requests(self, version: str) -> list[list[str]]:
        """What this version was asked, in this order."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [rest for number, *rest in lines if number == version]

    def progress(self) -> str | None:
        """The progress of the warm-up; None if there is none."""
        found: str | None = self.service.status()["generations"][-1]["warming"]
        return found

    def wait_warming(self) -> None:
        """Return when a request of the warm-up waits in the second version."""
        wait.until(lambda: self.progress() is not None, "the warm-up")
        wait.until(lambda: bool(self.requests("2")), "its first request")

    def helpers(self) -> list[int]:
        """The processes that send the requests."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline") as words:
                    text = words.read()
            except OSError:
                continue
            if "warm_requests.py" in text and f":{self.program.port}/" in text:
                found.append(int(pid))
        return found
