"""`sockact run` as PID 1 of a container: in a pid namespace of its own, with no init before it."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support import wait
from tests.support.helpers import helpers
from tests.support.program import GOOD, Hammer, Program, connect, read_all
from tests.support.service import SOCKACT, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNSHARE = ("unshare", "--pid", "--mount-proc", "--fork", "--kill-child")
# A daemon's way: two children, of which the second outlives the first for a moment.
ORPHAN = (
    "if os.fork() == 0:\n    if os.fork() == 0:\n        time.sleep(0.2)\n    os._exit(0)\n"
    "os.wait()\n"
)


class Container:
    """A service whose supervisor is the first process of a namespace."""

    def __init__(self, folder: Path, program: Program) -> None:
        self.service = Service(
            program.command, folder=folder, listen=program.listen, launcher=UNSHARE
        )
        self.service.wait_ready()
        (self.first,) = psutil.Process(self.service.process.pid).children()

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as `docker exec` does."""
        return subprocess.run(
            ["nsenter", "--target", str(self.first.pid), "--pid", "--mount", *command],
            env=self.service.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def zombies(self) -> list[psutil.Process]:
        found = self.first.children(recursive=True)
        return [one for one in found if one.status() == psutil.STATUS_ZOMBIE]

    def close(self) -> None:
        if self.first.is_running():
            self.first.terminate()
        assert self.service.process.wait(30) == 0, self.service.stderr
        self.service.close()


@pytest.fixture
def program(folder: Path) -> Program:
    program = Program(folder)
    program.publish("1", ORPHAN + GOOD)
    return program


@pytest.fixture
def container(folder: Path, program: Program) -> Iterator[Container]:
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, check=False, timeout=30)
    if tried.returncode != 0:
        pytest.skip(f"no pid namespace can be made here: {tried.stderr.decode().strip()}")
    found = Container(folder, program)
    yield found
    found.close()


def test_it_is_the_first_and_reloads(container: Container, program: Program) -> None:
    status = container.execute(*SOCKACT, "status", "--json", "test")
    assert '"pid": 1,' in status.stdout
    program.publish("2", ORPHAN + GOOD)
    with Hammer(program.port) as hammer:
        done = container.execute(*SOCKACT, "reload", "--wait-drained", "test")
        assert (done.returncode, done.stderr) == (0, "")
        hammer.wait_for("2")
    assert hammer.failures == []


def test_it_reaps_all_orphans(container: Container) -> None:
    """Orphans of the program, and of a command run in the container."""
    stranger = container.execute("sh", "-c", "(sh -c 'sleep 0.1; exit 3' &) ; echo left")
    assert stranger.stdout == "left\n"

    def alone() -> bool:
        own = container.service.status()["generations"][0]["pids"]
        found = {one.pid for one in container.first.children(recursive=True)}
        return len(found - {*helpers(container.first.pid)}) == len(own) == 1

    wait.until(alone, "the orphans to be reaped")
    assert container.zombies() == []
    assert container.service.states() == {1: "running"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_drains(
    container: Container, program: Program, number: signal.Signals
) -> None:
    """PID 1 has no default action for it: it has to be handled."""
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"slow 0.5")

        def busy() -> bool:
            return bool(container.service.status()["generations"][0]["connections"]["busy"])

        wait.until(busy, "the request to arrive")
        os.kill(container.first.pid, number)
        assert read_all(client) == "1"
    assert container.service.process.wait(30) == 0


def test_sighup_reloads(container: Container, program: Program) -> None:
    program.publish("2", ORPHAN + GOOD)
    os.kill(container.first.pid, signal.SIGHUP)
    wait.until(lambda: program.ask() == "2", "the next version")
