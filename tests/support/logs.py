"""A program that writes numbered lines forever, and a check of the logs for them."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.service import Service

# Two processes of each generation write; at its stop signal each tells how far it has come.
TALK = """
# No Event: set() in a handler waits for ever for a lock that wait() holds.
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
child = os.fork()

def write(text):
    started = time.monotonic()
    os.write(FD, f"{os.environ['SOCKACT_GENERATION']} {os.getpid()} {text}\\n".encode())
    return time.monotonic() - started

def talk():
    number, longest = 0, 0.0
    while not stopping:
        time.sleep(0.001)
        for number in range(number + 1, number + AT_ONCE + 1):
            longest = max(longest, write(f"{number} {'x' * 60}"))
    write(f"end {number} {longest}")

if child:
    listener = bound()
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    talk()
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
else:
    talk()
os._exit(0)
"""


def talking(at_once: int = 20, fd: int = 1) -> str:
    """The body of a program; `at_once` lines are written in a row."""
    return f"AT_ONCE, FD = {at_once}, {fd}\n{TALK}"


@dataclass
class Said:
    """What one process has written, as it is in the logs."""

    numbers: list[int]
    last: int | None = None
    """The number that it says it came to."""
    longest: float = 0.0
    """How many seconds its longest write took."""

    @property
    def complete(self) -> bool:
        """Each line once, and in order, to the last."""
        return self.numbers == list(range(1, (self.last or 0) + 1)) and self.last is not None

    @property
    def fault(self) -> str:
        """Where its lines are not as they should be, for the message of a test."""
        wanted = range(1, (self.last or 0) + 1)
        for found, number in zip(self.numbers, wanted, strict=False):
            if found != number:
                return f"{found} in the place of {number}, of {self.last}"
        return f"{len(self.numbers)} lines, the last says {self.last}"

    @property
    def missing(self) -> int:
        """How many lines are not there; each must be there once at most, and in order."""
        assert self.numbers == sorted(set(self.numbers))
        assert self.last is not None
        return self.last - len(self.numbers)


def said(files: Iterable[Path], *, half: bool = False) -> dict[str, Said]:
    """By generation and process. Raises AssertionError for a line that is torn; a `half` one may be
    at the end.
    """
    found: dict[str, Said] = {}
    for path in files:
        data = path.read_bytes()
        if half:
            data = data[: data.rfind(b"\n") + 1]
        assert not data or data.endswith(b"\n"), path
        for line in data.decode().splitlines():
            if line.startswith("sockact: "):
                continue
            generation, pid, number, rest = line.split(" ", 3)
            one = found.setdefault(f"{generation} {pid}", Said([]))
            if number == "end":
                last, longest = rest.split()
                one.last, one.longest = int(last), float(longest)
            else:
                assert rest == "x" * 60, line
                one.numbers.append(int(number))
    return found


def pump(service: Service) -> psutil.Process:
    """The log pump of the service."""

    def find() -> psutil.Process | None:
        for child in psutil.Process(service.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # It has just been killed.
                if child.name() == "sockact-log":
                    return child
        return None

    return wait.until(find, "a log pump")


def grows(path: Path) -> None:
    """Wait until more is written to it."""
    before = path.stat().st_size if path.exists() else 0
    wait.until(lambda: path.exists() and path.stat().st_size > before, f"lines in {path}")


def reopen(service: Service) -> str:
    """SIGUSR1; what the supervisor says when it is done."""
    before = len(service.stderr.splitlines())

    def answer() -> str | None:
        lines = service.stderr.splitlines()[before:]
        return next((line for line in lines if "reopened" in line or "No such" in line), None)

    service.signal(signal.SIGUSR1)
    return wait.until(answer, "the end of the reopening")


def rotate(service: Service, log: Path, to: Path) -> bytes:
    """As logrotate does it; gives what is in the file that was left, which is all of it."""
    os.rename(log, to)
    assert "reopened" in reopen(service)
    return to.read_bytes()
