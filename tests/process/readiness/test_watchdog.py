"""WATCHDOG=1 is sent as long as clients are served."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support import wait
from tests.support.program import Program, connect, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

HALF = 0.2
ENVIRONMENT = {**os.environ, "WATCHDOG_USEC": str(round(2 * HALF * 1_000_000))}
LIMITS = ("--drain-timeout", "1s", "--kill-timeout", "1s")
NOTIFY = """
def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
        sock.sendall(text)
"""


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


def pinged(service: Service, times: int = 1) -> None:
    """Return after so many more pings."""
    for _ in range(times):
        service.notify.wait_for("WATCHDOG", "1")


def stop(service: Service) -> int:
    """SIGSTOP to the program of the newest generation."""
    pid = int(service.status()["generations"][-1]["pid"])
    os.kill(pid, signal.SIGSTOP)
    wait.until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "it to stop")
    return pid


def test_a_stuck_generation_is_replaced(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LIMITS, environment=ENVIRONMENT)
    pinged(service, 2)
    program.publish("2")
    stop(service)
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"fast")
        assert read_all(client) == "2", "it waited in the queue for the next"
    assert "generation 1: not accepting connections for" in service.stderr
    assert "leaving the restart to systemd" not in service.stderr
    pinged(service, 2)


def test_an_idle_service_is_healthy(start: StartService, program: Program) -> None:
    """It is stopped, but no client waits."""
    service = start(program.command, listen=program.listen, options=LIMITS, environment=ENVIRONMENT)
    pid = stop(service)
    pinged(service, 4)
    assert service.states() == {1: "running"}
    os.kill(pid, signal.SIGCONT)


def test_the_pings_stop_when_the_successor_is_no_better(
    start: StartService, program: Program
) -> None:
    service = start(program.command, listen=program.listen, options=LIMITS, environment=ENVIRONMENT)
    program.publish("2", "raise SystemExit(3)\n")
    pid = stop(service)
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"fast")
        wait.until(lambda: "leaving the restart to systemd" in service.stderr, "it to give up")
        while service.notify.receive(0):
            pass  # what was sent before
        assert service.notify.receive(4 * HALF) is None
        os.kill(pid, signal.SIGCONT)
        assert read_all(client) == "1"
    pinged(service)


def test_a_watchdog_probe(start: StartService, program: Program, folder: Path) -> None:
    healthy = folder / "healthy"
    healthy.touch()
    options = ("--watchdog-probe", f"exec:test -e {healthy}")
    service = start(
        program.command, listen=program.listen, options=options, environment=ENVIRONMENT
    )
    pinged(service, 2)
    program.publish("2")
    healthy.unlink()
    wait.until(lambda: 2 in service.states(), "the next generation")
    assert "generation 1: the watchdog probe failed: exited with status 1" in service.stderr
    healthy.touch()
    pinged(service, 2)


def test_the_programs_own_watchdog(start: StartService, program: Program, folder: Path) -> None:
    """It is sent to the supervisor; systemd gets it only from there."""
    alive = folder / "alive"
    alive.touch()
    body = (
        "found = bound()\nnotify(b'READY=1')\n"
        "def ping():\n"
        f"    while os.path.exists({str(alive)!r}):\n"
        "        notify(b'WATCHDOG=1')\n"
        "        time.sleep(float(os.environ['WATCHDOG_USEC']) / 4e6)\n"
        "threading.Thread(target=ping, daemon=True).start()\naccept(found)\n"
    )
    program.publish("1", NOTIFY + body)
    service = start(
        program.command,
        listen=program.listen,
        options=("--ready", "notify"),
        environment={**ENVIRONMENT, "WATCHDOG_USEC": "2000000"},
    )
    pinged(service, 3)
    assert service.states() == {1: "running"}
    program.publish("2", NOTIFY + "found = bound()\nnotify(b'READY=1')\naccept(found)\n")
    alive.unlink()
    wait.until(lambda: service.states().get(2) == "running", "the next generation")
    assert "no WATCHDOG=1 from the program for" in service.stderr
    pinged(service, 3)
    assert 3 not in service.states(), "who never sent one is not asked for it"
