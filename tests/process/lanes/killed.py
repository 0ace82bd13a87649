"""The steps of a reload at which something is killed, and clients that wait at that moment."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from tests.support import varlink, wait
from tests.support.program import Program, connect, read_all

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import Service

LANES = ("--lanes", "require")
HTTP = """
def serve(connection):
    with connection:
        if connection.recv(1000).startswith(b"GET"):
            PROVEN()
            connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
        else:
            connection.sendall(VERSION)
"""
ANSWERS = HTTP + "PROVEN = int\naccept(bound())\n"
# These stand still at a FIFO, and say so by another file.
GATE = "def PROVEN():\n    open(GATE + '.seen', 'w').close()\n    open(GATE).read()\n"
HOLDS = HTTP + GATE + "accept(bound())\n"
WAITS = HTTP + GATE + "PROVEN()\nPROVEN = int\naccept(bound())\n"
SHARED = 3
"""So many clients wait at least in each lane that gets some."""


@dataclass(frozen=True)
class Step:
    """One moment: the second release, the options of the service, and how to get there."""

    options: tuple[str, ...] = ()
    release: str = ANSWERS
    reach: Callable[[Scene], None] = lambda _scene: None
    ask: str = ""
    """What the supervisor is asked for just before the kill."""
    queued_before: bool = False
    """Clients wait before the reload begins."""


@dataclass
class Scene:
    """A service in the middle of a reload from generation 1 to generation 2."""

    service: Service
    program: Program
    gate: Path
    step: Step
    clients: list[socket.socket] = field(default_factory=list)
    stopped: dict[int, int] = field(default_factory=dict)
    """Generation → its process, which accepts nothing any more."""

    def begin(self) -> None:
        """Reach the step."""
        os.mkfifo(self.gate)
        self.program.publish("2", f"GATE = {str(self.gate)!r}\n" + self.step.release)
        self.service.signal(signal.SIGHUP)
        wait.until(lambda: 2 in self.service.states(), "the successor")
        self.step.reach(self)

    def halt(self, number: int) -> None:
        """Let a generation accept nothing any more."""
        (pid,) = (g["pid"] for g in self.service.status()["generations"] if g["number"] == number)
        process = psutil.Process(pid)
        process.suspend()
        wait.until(lambda: process.status() == psutil.STATUS_STOPPED, "a process to stand still")
        self.stopped[number] = pid

    def lanes(self) -> dict[int, tuple[int, int]]:
        """Generation → its share of the clients, and how many wait in its lane."""
        (listener,) = self.service.status()["listeners"]
        return {
            number: (lane["share"], lane["queue_length"])
            for lane in listener["lanes"]
            for number in lane["generations"]
        }

    def crowd(self, *numbers: int) -> None:
        """Connect until clients wait for each of these generations that gets any."""
        while any(share and queued < SHARED for share, queued in self._of(numbers)):
            client = connect(("127.0.0.1", self.program.port))
            client.sendall(b"fast")
            self.clients.append(client)

    def _of(self, numbers: tuple[int, ...]) -> list[tuple[int, int]]:
        lanes = self.lanes()
        return [lanes[number] for number in numbers if number in lanes]

    def kill(self, number: int) -> int:
        """Kill a generation that stands still; return how many clients waited for it.

        The supervisor finds its end and what it is asked for at the same time.
        """
        waited = self.lanes()[number][1]
        supervisor = psutil.Process(self.service.process.pid)
        with contextlib.ExitStack() as stack:
            if self.step.ask:
                supervisor.suspend()
                stack.callback(supervisor.resume)
                control = self.service.control
                asked = stack.enter_context(varlink.begin(control, self.step.ask))
                asked.setblocking(False)
            os.kill(self.stopped.pop(number), signal.SIGKILL)
        return waited

    def resume(self) -> None:
        """Let the generations that stand still go on, and a program that waits."""
        for pid in self.stopped.values():
            os.kill(pid, signal.SIGCONT)
        self.stopped.clear()
        open_gate(self.gate)

    def answers(self) -> tuple[set[str], int]:
        """The versions that answer those who waited, and how many were reset."""
        found, reset = set(), 0
        for client in self.clients:
            with client:
                try:
                    found.add(read_all(client))
                except ConnectionResetError:
                    reset += 1
        return found, reset

    def close(self) -> None:
        """Close what is left after a failure."""
        self.resume()
        for client in self.clients:
            client.close()


def open_gate(gate: Path) -> None:
    """Let programs pass that stand at the FIFO, or will."""
    if gate.is_fifo():
        fd = os.open(gate, os.O_RDWR)
        gate.unlink()
        gate.touch()
        os.close(fd)


def _shared(share: int) -> Callable[[Scene], None]:
    def reach(scene: Scene) -> None:
        wait.until(lambda: scene.lanes().get(2, (0, 0))[0] == share, "the canary's share")

    return reach


def _by_hand(scene: Scene) -> None:
    _shared(300)(scene)
    varlink.call(scene.service.control, "SetShare", {"share": 600})
    _shared(600)(scene)


def _draining(scene: Scene) -> None:
    wait.until(lambda: scene.service.states() == {1: "draining", 2: "running"}, "the drain")


def _stands(scene: Scene) -> None:
    """The release, or its answer to the probe, waits at the FIFO."""
    wait.until(scene.gate.with_suffix(".seen").exists, "the program to wait")


CANARY = ("--canary", "30% 1h")
STEPS = {
    "pending": Step(release=WAITS, reach=_stands),
    "private probe": Step(release=HOLDS, reach=_stands),
    "first share": Step(CANARY, reach=_shared(300)),
    "second share": Step(("--canary", "10% 1s, 50% 1h"), reach=_shared(500)),
    "by hand": Step(CANARY, reach=_by_hand),
    "promote": Step(CANARY, reach=_shared(300), ask="Promote"),
    "draining": Step(reach=_draining, queued_before=True),
    "rollback": Step(CANARY, reach=_shared(300), ask="Rollback"),
}
