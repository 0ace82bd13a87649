"""Processes that have the listener and do not accept at the moment, or never do."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from sockact.handover.interest import process_interest
from tests.process.gates.test_gate_changes import listening
from tests.process.gates.waiting import PYTHON, Waiting, closes_and_opens
from tests.support import wait

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.conftest import StartService

TURNS = """
os.fork() or wait_in(watching())
os.fork() or select.epoll().poll()
os.wait()
"""


def test_a_worker_that_waits_for_its_turn_has_a_gate(start: StartService, folder: Path) -> None:
    """It has no shim, and its epoll instance does not watch the listener at that moment."""
    closes_and_opens(Waiting(start, folder, TURNS, (*PYTHON, "-I")), "epoll")


STARTS = """
import subprocess
listener.set_inheritable(True)
subprocess.Popen(["sleep", "1000"], close_fds=False)
wait_in(watching())
"""


def test_a_program_that_inherited_the_listener_needs_no_gate(
    start: StartService, folder: Path
) -> None:
    closes_and_opens(Waiting(start, folder, STARTS, (*PYTHON, "-I")), "epoll")


ADDS_AGAIN = """
import contextlib
def answer(connection):
    with connection:
        while data := connection.recv(9):
            if data != b"work": connection.sendall(NUMBER)
signal.signal(signal.SIGUSR1, lambda *_: instance.register(listener, select.EPOLLIN))
instance = watching()
while instance.poll():
    with contextlib.suppress(BlockingIOError):
        threading.Thread(target=answer, args=(listener.accept()[0],)).start()
"""


def test_a_process_that_accepts_again_is_closed_while_it_is_busy(
    start: StartService, folder: Path
) -> None:
    """Otherwise new clients could hold the drain for ever."""
    patient = ("--drain-timeout", "60s")
    waiting = Waiting(start, folder, ADDS_AGAIN, options=patient)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(held_by_the_first(waiting))
        assert waiting.service.reload().code == 0
        wait.until(lambda: waiting.gate() == ("closed", "epoll"), "the gate to close")
        pid, listener = waiting.generation(1)["pid"], listening(waiting.port)
        os.kill(pid, signal.SIGUSR1)
        wait.until(lambda: process_interest(pid, {listener}), "it to accept again")
        second = stack.enter_context(held_by_the_first(waiting))
        finish(first)
        wait.until(lambda: not process_interest(pid, {listener}), "the gate to close again")
        assert waiting.answers() == {b"2"}
        finish(second)
    waiting.service.wait_drained()


def held_by_the_first(waiting: Waiting) -> socket.socket:
    """A connection that generation 1 has accepted, with a request under way."""

    def accepted() -> socket.socket | None:
        client = waiting.connect()
        client.sendall(b"ask")
        if client.recv(9) == b"1":
            client.sendall(b"work")
            return client
        client.close()
        return None

    return wait.until(accepted, "generation 1 to accept")


def finish(client: socket.socket) -> None:
    """End the request of a connection, and the connection."""
    client.sendall(b"end")
    assert client.recv(9) == b"1"
    client.close()
