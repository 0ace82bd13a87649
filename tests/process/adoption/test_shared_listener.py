"""All generations share the listener; what one does to it must not affect the others."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support import wait
from tests.support.program import Hammer, Program, ask, connect, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

# Shuts its listener down when it is told to end, as some servers do, by other ways than Python's.
SHUTDOWN = """
import _socket
found = bound()
def end(*_):
    _socket.socket.shutdown(found, socket.SHUT_RDWR)
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
# Moves it to a descriptor whose shutdown() the seccomp filter does not report.
HIGH = """
os.dup2(found.fileno(), 200)
found = socket.socket(fileno=200)
"""


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


def test_shutdown_of_the_predecessor_in_accept(start: StartService, program: Program) -> None:
    """It shuts down only the decoy of its closed gate."""
    program.publish("1", SHUTDOWN + "accept(found)\n")
    service = start(program.command, listen=program.listen)
    program.publish("2")
    with Hammer(program.port) as hammer:
        assert service.reload("--wait-drained").code == 0
        hammer.wait_for("2")
    assert hammer.failures == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            SHUTDOWN.replace("_socket.socket.shutdown(found, ", "found.shutdown("), id="in Python"
        ),
        pytest.param(SHUTDOWN, id="in C"),
        pytest.param(SHUTDOWN + HIGH, id="in C, beyond the filter"),
    ],
)
def test_shutdown_of_the_predecessor_in_epoll(
    start: StartService, program: Program, body: str
) -> None:
    """It has no effect: nobody is refused, and the queue is kept."""
    program.publish("1", body + EPOLL)
    service = start(program.command, listen=program.listen)
    program.publish("2", "found = bound()\n" + EPOLL)
    with Hammer(program.port) as hammer:
        assert service.reload("--wait-drained").code == 0
        hammer.wait_for("2")
    assert hammer.failures == []
    assert "listening again" not in service.stderr


def test_shutdown_of_a_socket_file(start: StartService, program: Program, folder: Path) -> None:
    """It could not be undone."""
    path = folder / "socket"
    bound = f"bound({str(path)!r}, socket.AF_UNIX)"
    program.publish("1", SHUTDOWN.replace("bound()", bound) + EPOLL)
    service = start([sys.executable, "-I", str(program.path)], listen=(str(path),))
    program.publish("2", f"found = {bound}\n" + EPOLL)
    assert service.reload("--wait-drained").code == 0
    assert ask(str(path)) == "2"


def test_shutdown_of_a_connection(start: StartService, program: Program) -> None:
    """It is carried out at once, though the connection stays open in the program."""
    program.publish(
        "1",
        "import _socket\nkept = []\ndef serve(connection):\n    kept.append(connection)\n"
        "    connection.recv(100)\n    connection.sendall(b'end')\n"
        "    _socket.socket.shutdown(connection, socket.SHUT_RDWR)\n"
        "accept(bound())\n",
    )
    start(program.command, listen=program.listen)
    assert program.ask() == "end"


def test_listens_again_after_a_shutdown(start: StartService, program: Program) -> None:
    """A program without the shim, beyond the filter, cannot be prevented from that."""
    program.publish("1", SHUTDOWN + HIGH + EPOLL)
    service = start([sys.executable, "-I", str(program.path)], listen=program.listen)
    program.publish("2", "found = bound()\n" + EPOLL)
    assert service.reload("--wait-drained").code == 0
    assert "listening again" in service.stderr
    assert program.ask() == "2"


# When told so, or when accept() fails, gives its listener up and lives on, as gRPC does.
GIVES_UP = """
import _socket
def give_up(*_):
    selector.unregister(found)
    _socket.socket.shutdown(found, socket.SHUT_RDWR)
signal.signal(signal.SIGUSR1, give_up)
found = bound()
"""


@pytest.mark.parametrize("beyond", [False, True], ids=["ignored", "carried out"])
def test_a_generation_that_stops_accepting_is_replaced(
    start: StartService, program: Program, beyond: bool
) -> None:
    program.publish("1", GIVES_UP + (HIGH if beyond else "") + EPOLL)
    service = start(program.command, listen=program.listen)
    (one,) = service.status()["generations"]
    program.publish("2", "found = bound()\n" + EPOLL)
    os.kill(one["pid"], signal.SIGUSR1)
    wait.until(lambda: service.states() == {2: "running"}, "the next generation to serve alone")
    assert (
        f"generation 1: no longer accepting connections on 127.0.0.1:{program.port}; replacing it"
        in service.stderr
    )
    assert ("listening again" in service.stderr) is beyond
    assert program.ask() == "2"


def test_crash_in_the_middle_of_a_shutdown(start: StartService, program: Program) -> None:
    program.publish("1", SHUTDOWN + EPOLL)
    service = start(program.command, listen=program.listen)
    (one,) = service.status()["generations"]
    program.publish("2")
    os.kill(one["pid"], signal.SIGTERM)
    # Status 0: the program ended by itself, and so does the service.
    assert service.process.wait(10) == 0


def test_closing_the_listener_affects_nobody_else(start: StartService, program: Program) -> None:
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


# When told so, shuts its listener down and goes on without accepting.
LINGERS = """
import _socket
def linger(*_):
    _socket.socket.shutdown(found, socket.SHUT_RD)
    time.sleep(2)
    os._exit(0)
signal.signal(signal.SIGTERM, linger)
"""


def test_a_predecessor_that_lingers_after_its_shutdown(
    start: StartService, program: Program
) -> None:
    program.publish("1", LINGERS + "found = bound()\n" + HIGH + EPOLL)
    service = start([sys.executable, "-I", str(program.path)], listen=program.listen)
    program.publish("2", "found = bound()\n" + EPOLL)
    with Hammer(program.port) as hammer, ThreadPoolExecutor(1) as pool:
        reload = pool.submit(service.reload, "--wait-drained")
        wait.until(lambda: "listening again" in service.stderr, "the supervisor to have heard")
        # The kernel resets what waits in the queue, and refuses until then.
        before = list(hammer.failures)
        for _ in range(20):
            hammer.wait_for("2")
        assert reload.result().code == 0
    # Of each client, at most the connection of that moment.
    assert len(hammer.failures) <= len(before) + 2, hammer.failures
    assert service.stderr.count("listening again") == 1


def test_a_running_program_that_shuts_its_listener_down(
    start: StartService, program: Program
) -> None:
    """Its clients wait for the next generation."""
    body = LINGERS.replace("SIGTERM", "SIGUSR1").replace("time.sleep(2)", "time.sleep(60)")
    program.publish("1", body + "found = bound()\n" + HIGH + EPOLL)
    service = start(program.command, listen=program.listen, options=("--kill-timeout", "1s"))
    (one,) = service.status()["generations"]
    os.kill(one["pid"], signal.SIGUSR1)
    wait.until(lambda: "listening again" in service.stderr, "the listener to be back")
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"fast")
        assert not wait.readable(client.fileno(), timeout=0.2)
        program.publish("2", "found = bound()\n" + EPOLL)
        assert service.reload("--wait-drained").code == 0, service.stderr
        assert read_all(client) == "2"


def test_a_shutdown_at_a_stop_stays(start: StartService, program: Program) -> None:
    """No generation will serve any more, so clients are refused instead of waiting."""
    program.publish("1", LINGERS + "found = bound()\n" + EPOLL)
    service = start(program.command, listen=program.listen)
    service.signal(signal.SIGQUIT)

    def refused() -> bool:
        try:
            connect(("127.0.0.1", program.port)).close()
        except ConnectionError:
            return True
        return False

    wait.until(refused, "the listener to be shut")
    assert service.process.poll() is None, "the program is still there"
    assert service.process.wait(10) == 0
    assert "listening again" not in service.stderr
