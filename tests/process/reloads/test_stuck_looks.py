"""A program that keeps the kernel from answering about it does not stop its supervisor."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support import wait
from tests.support.helpers import helpers
from tests.support.program import Program
from tests.support.stuck import PAGE, is_stuck, stuck_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartService

BEGIN = """
listener = bound()
threading.Thread(target=accept, args=(listener,), daemon=True).start()
mapped, address, file = page({stuck!r})
def attack():
    while not os.path.exists({go!r}):
        time.sleep(0.01)
    open({told!r}, "w").close()
"""
BIND = """
own = socket.socket()
attack()
libc.bind(own.fileno(), ctypes.c_void_p(address), 16)
"""
EPOLL = """
poll = select.epoll()
poll.register(listener, select.EPOLLIN)
read, write = os.pipe()
os.write(write, b"x")
poll.register(read, select.EPOLLIN)
attack()
libc.epoll_wait(poll.fileno(), ctypes.c_void_p(address), 10, -1)
"""


@pytest.fixture
def stuck(folder: Path) -> Iterator[str]:
    with stuck_file(folder) as path:
        yield path


@pytest.mark.parametrize("hostile", [BIND, EPOLL], ids=["bind", "epoll"])
def test_the_supervisor_goes_on(
    start: StartService, folder: Path, stuck: str, hostile: str
) -> None:
    """It answers, reports the process once, and reloads to a better release."""
    program, go, told = Program(folder), folder / "go", folder / "told"
    begin = BEGIN.format(stuck=stuck, go=str(go), told=str(told))
    program.publish("1", PAGE + begin + hostile)
    # With lanes, nobody looks at its epoll instances.
    options = ("--lanes", "off") if hostile is EPOLL else ()
    service = start(program.command, listen=program.listen, options=options)
    go.touch()
    wait.until(told.exists, "the attack")
    pid = service.status()["generations"][0]["pid"]
    if hostile is EPOLL:
        wait.until(lambda: is_stuck(pid), "the lock to be held")
    message = f"process {pid} keeps the kernel from answering"
    wait.until(lambda: service.states() and message in service.stderr, "the message")
    assert service.states() == {1: "running"}
    shown = service.run("status", "test", timeout=20.0)
    assert "\n  1           running\n" in shown.stdout
    program.publish("2")
    assert service.reload().code == 0, service.stderr
    assert service.status()["generations"][-1]["state"] == "running"
    # The first one may still accept, and answers nobody, where its gate cannot be closed.
    wait.until(lambda: _answer(program) == "2", "an answer")
    assert service.stderr.count(message) == 1
    os.kill(int(stuck.split("/")[2]), signal.SIGKILL)
    assert service.stop() == 0


def test_its_helper_ends_with_the_supervisor(start: StartService, folder: Path) -> None:
    program = Program(folder)
    service = start(program.command, listen=program.listen)
    (helper,) = helpers(service.process.pid)
    service.process.kill()
    service.process.wait()
    assert wait.ended(helper)
    service.remove_sockets()


def _answer(program: Program) -> str:
    try:
        return program.ask(timeout=0.2)
    except OSError:
        return ""
