"""Predecessors that do not go as they should: each is gone in the end with all its processes, and
its successor serves on the same listener.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support import wait
from tests.support.program import Hammer, Program, connect, running

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.support.service import Service

# A worker that outlives its parent's end, too.
WORKER = "if os.fork() == 0:\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
ODD = {
    "ignores SIGTERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\naccept(bound())\n",
    "leaves a worker": f"found = bound()\n{WORKER}accept(found)\n",
    "forks twice": "if os.fork():\n    os._exit(0)\nos.setsid()\nif os.fork():\n    os._exit(0)\n"
    "accept(bound())\n",
    "closes its listener": "found = bound()\n"
    "def close(*_):\n    found.close()\n    time.sleep(0.2)\n    os._exit(0)\n"
    "signal.signal(signal.SIGTERM, close)\naccept(found)\n",
    "closes its listener early": "found = bound()\n"
    "def close(*_):\n    found.close()\n    signal.pause()\n"
    "signal.signal(signal.SIGUSR1, close)\naccept(found)\n",
    "shuts its listener down": "found = bound()\n"
    "def shut(*_):\n    found.shutdown(socket.SHUT_RDWR)\n    os._exit(0)\n"
    "signal.signal(signal.SIGTERM, shut)\naccept(found)\n",
}


def pids(service: Service) -> list[int]:
    """The processes of the oldest generation."""
    return list(service.status()["generations"][0]["pids"])


def replaced(service: Service, program: Program, before: list[int]) -> None:
    """A reload starts the next generation, and nothing of the previous one is left."""
    program.publish("2")
    inodes = listening_inodes(service)
    with Hammer(program.port) as hammer:
        assert service.reload("--wait-drained").code == 0
        hammer.wait_for("2")
    assert hammer.failures == []
    assert running(before) == []
    assert service.states() == {2: "running"}
    assert listening_inodes(service) == inodes


def listening_inodes(service: Service) -> set[str]:
    """The inodes of the listening sockets that the supervisor holds; with lanes, there are six."""
    connections = psutil.Process(service.process.pid).net_connections("tcp")
    fds = [one.fd for one in connections if one.status == psutil.CONN_LISTEN]
    return {os.readlink(f"/proc/{service.process.pid}/fd/{fd}") for fd in fds}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_ends_well(start: StartService, program: Program, body: str) -> None:
    program.publish("1", body)
    options = ("--kill-timeout", "500ms")
    service = start(program.command, listen=program.listen, options=options)
    replaced(service, program, pids(service))


# Without net.ipv4.tcp_migrate_req=1, clients wait for as long as their lane's generation lives
# (docs/lanes.md; tests/process/lanes/test_abandoned.py).
ONE_QUEUE = ("--lanes", "off")


def test_stopped_by_sigstop(start: StartService, program: Program) -> None:
    options = ("--kill-timeout", "500ms", *ONE_QUEUE)
    service = start(program.command, listen=program.listen, options=options)
    before = pids(service)
    os.kill(before[0], signal.SIGSTOP)
    wait.until(
        lambda: psutil.Process(before[0]).status() == psutil.STATUS_STOPPED, "the program to stop"
    )
    replaced(service, program, before)


def test_closes_its_listener_while_it_runs(start: StartService, program: Program) -> None:
    program.publish("1", ODD["closes its listener early"])
    service = start(program.command, listen=program.listen, options=ONE_QUEUE)
    before = pids(service)
    os.kill(before[0], signal.SIGUSR1)
    wait.until(lambda: not has_listener(before[0]), "the listener to be closed")
    with connect(("127.0.0.1", program.port)) as waiting:
        waiting.sendall(b"fast")
        replaced(service, program, before)
        assert waiting.recv(10) == b"2", "whoever waited in the queue is served by the next"


def has_listener(pid: int) -> bool:
    found = psutil.Process(pid).net_connections("tcp")
    return any(one.status == psutil.CONN_LISTEN for one in found)
