"""Fuzzing a supervisor from outside: its service, and what is asked of it honestly meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import socket
import sys
import time
from typing import TYPE_CHECKING

from tests import ROOT
from tests.fuzz.harness import Broken, Vitals, queued
from tests.support import varlink, wait
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PROGRAM = ROOT / "tests" / "fuzz" / "program.py"
INTERNAL_ERROR = "internal error:"


class Supervised:
    """A service that must be served on, and its supervisor, which must answer."""

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.control = service.control
        self.pid = service.process.pid
        self._port = port
        self._longest = 0.0
        self._state = self._status()

    def look(self) -> float:
        """Ask for the status and for a page; return the seconds of the longest status so far."""
        began, waited = time.monotonic(), queued(self.pid)
        state = self._status()
        delay = queued(self.pid) - waited
        self._longest = max(self._longest, time.monotonic() - began - delay)
        if state != self._state:
            raise Broken(f"{self._state} became {state}: {self.service.stderr[-500:]}")
        self._page()
        longest, self._longest = self._longest, 0.0
        return longest

    def remember(self, seconds: float) -> None:
        """Include the duration of a look in the middle of a batch in the next one."""
        self._longest = max(self._longest, seconds)

    def vitals(self, *others: int) -> Vitals:
        """Those of the supervisor and other processes, as soon as connections are closed."""
        first = Vitals.of(self.pid, *others)
        fewest = first.descriptors
        with contextlib.suppress(TimeoutError):
            wait.until(lambda: self._descriptors(others) < fewest, "fewer descriptors", 1.0)
        return Vitals.of(self.pid, *others)

    def end(self) -> None:
        """Nothing unexpected has happened, and a reload still works."""
        text = self.service.stderr
        if INTERNAL_ERROR in text:
            at = text.index(INTERNAL_ERROR)
            raise Broken(text[at : at + 500])
        if (outcome := self.service.reload()).code:
            raise Broken(f"no reload: {outcome.stderr}")
        self._page()

    def _descriptors(self, others: Sequence[int]) -> int:
        return Vitals.of(self.pid, *others).descriptors

    def _status(self) -> tuple[int, str, list[int]]:
        try:
            found = varlink.call(self.control, "Status", timeout=2 * wait.TIMEOUT)["status"]
        except (OSError, varlink.VarlinkError) as error:
            code = self.service.process.poll()
            ended = "" if code is None else f"; the supervisor ended with {code}"
            raise Broken(f"no status: {error!r}{ended}: {self.service.stderr[-500:]}") from error
        generations = [one["number"] for one in found["generations"]]
        return found["pid"], found["state"], generations

    def _page(self) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2 * wait.TIMEOUT)
        try:
            client.request("GET", "/")
            if (answer := client.getresponse()).status != 200:
                raise Broken(f"a page has status {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"no page: {error!r}: {self.service.stderr[-500:]}") from error
        finally:
            client.close()


@contextlib.contextmanager
def supervised(
    folder: Path, *words: str, listen: Sequence[str] = (), options: Sequence[str] = ()
) -> Iterator[Supervised]:
    """Run tests/fuzz/program.py under sockact; `words` are its arguments after the port."""
    port = wait.free_port()
    with Service(
        [sys.executable, str(PROGRAM), str(port), *words],
        folder=folder,
        listen=(f"127.0.0.1:{port}", *listen),
        options=options,
        name="fuzz",
    ) as service:
        service.wait_ready()
        found = Supervised(service, port)
        yield found
        found.end()


class Inside:
    """A Target whose messages come from a process of the program: program.py."""

    def __init__(self, target: Supervised, attacker: socket.socket) -> None:
        self._target = target
        self._attacker = attacker
        attacker.settimeout(40 * wait.TIMEOUT)

    def send(self, count: int) -> None:
        """Let it send so many, and ask for the status meanwhile."""
        self._attacker.sendall(b"%d\n" % count)
        self._target.remember(self._target.look())
        try:
            if self._attacker.recv(100) != b"done\n":
                raise Broken(f"the program's process ended: {self._target.service.stderr[-1000:]}")
        except TimeoutError as error:
            raise Broken("the program's process hangs") from error

    def look(self) -> float:
        """Ask once more when all has been sent."""
        return self._target.look()

    def vitals(self) -> Vitals:
        """Those of the supervisor."""
        return self._target.vitals()


@contextlib.contextmanager
def inside(
    folder: Path, kind: str, seed: str, *, listen: Sequence[str] = (), options: Sequence[str] = ()
) -> Iterator[Inside]:
    """A service with a process that sends messages of this kind: program.SENDERS."""
    path = folder / "attack"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        words = (str(path), kind, seed, *listen)
        with supervised(folder, *words, listen=listen, options=options) as target:
            listener.settimeout(wait.TIMEOUT)
            attacker, _ = listener.accept()
            with attacker:
                yield Inside(target, attacker)
