"""The listener belongs to all generations: what one of them does to it must not hurt the others."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.program import Hammer, Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

# Shuts its listener down when it is told to end, as some servers do.
SHUTDOWN = """
found = bound()
def end(*_):
    found.shutdown(socket.SHUT_RDWR)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
"""
EPOLL = """
import selectors
found.setblocking(False)
selector = selectors.DefaultSelector()
selector.register(found, selectors.EVENT_READ)
while True:
    for _ in selector.select():
        try:
            connection, _ = found.accept()
        except BlockingIOError:
            continue
        connection.setblocking(True)
        threading.Thread(target=serve, args=(connection,)).start()
"""


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


def test_shutdown_of_the_predecessor_in_accept(start: StartService, program: Program) -> None:
    """It only shuts the decoy down that its closed gate is."""
    program.publish("1", SHUTDOWN + "accept(found)\n")
    service = start(program.command, listen=program.listen)
    program.publish("2")
    with Hammer(program.port) as hammer:
        assert service.reload("--wait-drained").code == 0
        hammer.wait_for("2")
    assert hammer.failures == []


def test_listens_again_after_a_shutdown(start: StartService, program: Program) -> None:
    """From outside, a program in epoll cannot be kept from it; it is noticed and repaired."""
    program.publish("1", SHUTDOWN + EPOLL)
    service = start(program.command, listen=program.listen)
    program.publish("2", "found = bound()\n" + EPOLL)
    assert service.reload("--wait-drained").code == 0
    assert "it listens again" in service.stderr
    assert program.ask() == "2"


def test_crash_in_the_middle_of_a_shutdown(start: StartService, program: Program) -> None:
    program.publish("1", SHUTDOWN + EPOLL)
    service = start(program.command, listen=program.listen)
    (one,) = service.status()["generations"]
    program.publish("2")
    os.kill(one["pid"], signal.SIGTERM)
    # Status 0: the program ended by itself, and so does the service.
    assert service.process.wait(10) == 0


def test_closing_is_nobody_elses_business(start: StartService, program: Program) -> None:
    program.publish(
        "1",
        "def end(*_):\n    found.close()\n    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nfound = bound()\n" + EPOLL,
    )
    service = start(program.command, listen=program.listen)
    program.publish("2", "found = bound()\n" + EPOLL)
    with Hammer(program.port) as hammer:
        assert service.reload("--wait-drained").code == 0
        hammer.wait_for("2")
    assert hammer.failures == []


def test_blocking_program_after_one_in_epoll(start: StartService, program: Program) -> None:
    """O_NONBLOCK is shared, and never cleared under the predecessor: a release that blocks in
    accept() is refused, instead of a predecessor that hangs.
    """
    program.publish("1", "found = bound()\n" + EPOLL)
    service = start(program.command, listen=program.listen)
    program.publish("2")
    outcome = service.reload()
    assert outcome.code == 1
    assert "BlockingIOError" in outcome.stderr
    assert program.ask() == "1"
