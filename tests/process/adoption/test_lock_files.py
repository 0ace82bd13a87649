"""A lock file beside the socket file, as Twisted and daphne make it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support import wait
from tests.support.installed import upgrade
from tests.support.program import Program, ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

# As twisted.python.lockfile.
LOCKED = """
def lock():
    while True:
        try:
            return os.symlink(str(os.getpid()), LOCK)
        except FileExistsError:
            pass
        try:
            os.kill(int(os.readlink(LOCK)), 0)
        except ProcessLookupError:
            os.remove(LOCK)
        else:
            sys.exit("cannot acquire lock")
def unlock(*_):
    if int(os.readlink(LOCK)) != os.getpid():
        print("not owned by this process", file=sys.stderr, flush=True)
    os.remove(LOCK)
    os._exit(0)
signal.signal(signal.SIGTERM, unlock)
lock()
accept(bound(PATH, socket.AF_UNIX))
"""


@pytest.fixture
def path(folder: Path) -> str:
    return str(folder / "app.sock")


@pytest.fixture
def program(folder: Path, path: str) -> Program:
    program = Program(folder)
    publish(program, path, "1")
    return program


def publish(program: Program, path: str, version: str) -> None:
    program.publish(version, f"PATH, LOCK = {path!r}, {path + '.lock'!r}\n{LOCKED}")


def test_lock_passes_from_one_generation_to_the_next(
    start: StartService, program: Program, path: str
) -> None:
    service = start(program.command, listen=(path,))
    for version in ("2", "3"):
        publish(program, path, version)
        assert service.reload("--wait-drained").code == 0, service.stderr
        assert ask(path) == version
        (one,) = [g for g in service.status()["generations"] if g["state"] == "running"]
        assert os.readlink(path + ".lock") == str(one["pid"])
    assert service.stop() == 0
    assert not os.path.lexists(path + ".lock")
    assert "not owned" not in service.stderr


def test_lock_that_was_made_before_an_upgrade(
    start: StartService, program: Program, path: str
) -> None:
    service = start(program.command, listen=(path,))
    upgrade(service)
    publish(program, path, "2")
    assert service.reload("--wait-drained").code == 0, service.stderr
    assert ask(path) == "2"
    assert "not owned" not in service.stderr


def test_lock_of_a_process_that_was_killed(
    start: StartService, program: Program, path: str
) -> None:
    service = start(program.command, listen=(path,))
    (one,) = service.status()["generations"]
    os.kill(one["pid"], signal.SIGKILL)
    wait.until(lambda: 2 in service.states(), "the next launch")
    assert ask(path) == "1"
    assert os.readlink(path + ".lock") != str(one["pid"])


def test_lock_of_a_stranger_is_respected(start: StartService, program: Program, path: str) -> None:
    os.symlink(str(os.getpid()), path + ".lock")
    service = start(program.command, listen=(path,), ready=False)
    assert service.process.wait(20) == 1
    assert "cannot acquire lock" in service.stderr
    assert os.readlink(path + ".lock") == str(os.getpid())
    os.unlink(path + ".lock")


def test_lock_is_only_for_users_of_the_program(
    start: StartService, program: Program, path: str
) -> None:
    """A job as nobody, in a generation that does not hold the lock by itself."""
    job = f"""
listener = bound({path!r}, socket.AF_UNIX)
job = os.fork()
if job == 0:
    os.setuid(65534)
    try:
        os.symlink(str(os.getpid()), {path + ".lock"!r})
    except OSError:
        os._exit(0)
    os._exit(1)
if os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]):
    sys.exit("nobody has the lock")
accept(listener)
"""
    service = start(program.command, listen=(path,))
    program.publish("2", job)
    assert service.reload("--wait-drained").code == 0, service.stderr
    assert ask(path) == "2"
