"""A stop signal that Python does not notice by itself: the main thread waits in a system call that
the signal has not interrupted. As with a signal that arrives just before the call, but every time.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support import wait

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.program import Program

# The other thread takes the signal, but only the main thread runs its handler.
DEAF = """
def ends(*_):
    os._exit(0)
signal.signal(signal.SIGTERM, ends)
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
accept(listener)
"""
# It gets its signal when it is in accept() again, after the last order to its shim.
DEAF_WORKER = """
def accepts():
    with open(f"/proc/{worker}/syscall") as file:
        return file.read().split()[0] in ("43", "288", "202", "242")
def ends(*_):
    while not accepts(): time.sleep(0.001)
    os.kill(worker, signal.SIGTERM)
listener = bound()
if worker := os.fork():
    signal.signal(signal.SIGTERM, ends)
    os.waitpid(worker, 0)
    os._exit(0)
"""
# It uses the signal itself.
OWN_HANDLER = "signal.signal(51, lambda *_: os.close(os.open({path!r}, os.O_CREAT)))\n"
PATIENT = ("--kill-timeout", "60s")


def test_a_worker_of_the_previous_generation_ends(start: StartService, program: Program) -> None:
    program.publish("1", DEAF_WORKER + DEAF)
    service = start(program.command, listen=program.listen, options=PATIENT)
    program.publish("2")
    assert service.reload().code == 0
    service.wait_drained(wait.TIMEOUT)


def test_a_service_that_is_stopped_ends(start: StartService, program: Program) -> None:
    program.publish("1", "listener = bound()" + DEAF)
    service = start(program.command, listen=program.listen, options=PATIENT)
    service.signal(signal.SIGTERM)
    assert service.process.wait(wait.TIMEOUT) == 0


@pytest.mark.parametrize("options", [[], ["-I"]], ids=["with the shim", "without"])
def test_a_handler_of_the_program_is_not_called(
    start: StartService, program: Program, options: list[str], tmp_path: Path
) -> None:
    called = tmp_path / "called"
    own = OWN_HANDLER.replace("{path!r}", repr(str(called)))
    program.publish("1", own + "listener = bound()" + DEAF)
    command = [program.command[0], *options, *program.command[1:]]
    service = start(command, listen=program.listen, options=("--kill-timeout", "1500ms"))
    service.signal(signal.SIGTERM)
    service.process.wait(wait.TIMEOUT)
    assert "sending SIGKILL" in service.stderr
    assert not called.exists()
