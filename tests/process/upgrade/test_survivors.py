"""Processes that outlive their supervisor: the next one waits for them, and ends them."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.process.upgrade.restarts import PIDFD, Restarts, restarts, told
from tests.support import wait
from tests.support.program import Program, connect, read_all

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["restarts"]  # fixtures

STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\naccept(bound())\n"
# Answers when the file is there, and ends when all is answered.
GRACEFUL = """
def serve(connection):
    with connection:
        connection.recv(100)
        open({path!r} + ".asked", "w").close()
        while not os.path.exists({path!r}):
            time.sleep(0.01)
        connection.sendall(VERSION)
listener = bound()
def stop(*_):
    listener.close()
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join()
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
accept(listener)
"""


def test_the_next_generation_waits_for_survivors(
    restarts: Restarts, program: Program, folder: Path
) -> None:
    """Requests under way are completed, by one version at a time."""
    answers = folder / "answers"
    program.publish("1", GRACEFUL.format(path=str(answers)))
    options = ("--kill-timeout", "1min")
    service = restarts.first(program, options=options)
    old = service.status()["generations"][0]["pid"]
    with connect(("127.0.0.1", program.port)) as busy:
        busy.sendall(b"fast")
        # Busy is also a connection that no thread serves yet, for which the program would not wait.
        wait.until((folder / "answers.asked").exists, "the request")
        restarts.kill(service, ends=False)
        program.publish("2")
        again = restarts.again(service, program, *program.listen, options=options, ready=False)
        again.notify.wait_for_name("EXTEND_TIMEOUT_USEC")
        assert again.status()["generations"] == []
        answers.touch()
        assert read_all(busy) == "1"
    again.wait_ready()
    assert program.ask() == "2"
    assert f"waiting for process {old} of an earlier supervisor to exit" in again.stderr
    assert "SIGKILL" not in again.stderr
    assert f"{PIDFD}{old}" in told(again, "FDSTOREREMOVE")


def test_survivors_are_killed_in_the_end(restarts: Restarts, program: Program) -> None:
    """It is killed with its children."""
    child = "pid = os.fork()\nif pid == 0:\n    time.sleep(60)\n"
    program.publish("1", child + STUBBORN)
    options = ("--kill-timeout", "0.5s")
    service = restarts.first(program, options=options)
    pids = service.status()["generations"][0]["pids"]
    assert len(pids) == 2
    restarts.kill(service, ends=False)
    assert program.ask() == "1"
    program.publish("2")
    again = restarts.again(service, program, *program.listen, options=options)
    assert program.ask() == "2"
    assert all(wait.ended(pid) for pid in pids)
    assert "still running after the kill timeout, sending SIGKILL" in again.stderr


def test_reload_does_not_wait_for_survivors(restarts: Restarts, program: Program) -> None:
    """The reload may bring the fix."""
    program.publish("1", STUBBORN)
    options = ("--kill-timeout", "2s")
    service = restarts.first(program, options=options)
    old = service.status()["generations"][0]["pid"]
    restarts.kill(service, ends=False)
    again = restarts.again(service, program, *program.listen, options=options, ready=False)
    again.notify.wait_for_name("EXTEND_TIMEOUT_USEC")
    program.publish("2")
    assert again.reload().code == 0
    assert wait.ended(old)
    assert again.states() == {1: "running"}
    assert program.ask() == "2"


def test_stop_while_something_is_left(restarts: Restarts, program: Program) -> None:
    program.publish("1", STUBBORN)
    service = restarts.first(program)
    old = service.status()["generations"][0]["pid"]
    restarts.kill(service, ends=False)
    again = restarts.again(service, program, *program.listen, ready=False)
    again.notify.wait_for_name("EXTEND_TIMEOUT_USEC")
    assert again.stop() == 0
    assert not wait.ended(old, timeout=0)
    os.kill(old, signal.SIGKILL)
