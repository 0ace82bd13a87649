"""A lock file beside the socket file, as Twisted and daphne make it."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from sockact.handover.adoption.lock_files import LockFiles
from tests.support import wait
from tests.support.installed import upgrade
from tests.support.program import Program, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
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


class Shared:
    """A lock that names this process, and that another one shares."""

    def __init__(self, lock: str, other: int) -> None:
        self.lock, self.other = lock, str(other)
        os.symlink(str(os.getpid()), lock)
        self.locks = LockFiles(lambda _pid: False)
        self.take()

    def take(self) -> None:
        for pid in (os.getpid(), int(self.other)):
            self.locks.made(self.lock, pid)

    def pass_on(self) -> bool:
        """This process removes the lock."""
        return self.locks.removed(self.lock, os.getpid())


@pytest.fixture
def shared(path: str) -> Iterator[Shared]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield Shared(path + ".lock", process.pid)
        process.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_lock_that_cannot_be_passed_on_leaves_nothing(shared: Shared, folder: Path) -> None:
    """The lock is root's, and only root may give links to root."""
    folder.chmod(0o777)
    os.seteuid(65534)
    try:
        assert not shared.pass_on()
    finally:
        os.seteuid(0)
    assert os.listdir(folder) == [os.path.basename(shared.lock)]
    shared.take()
    assert shared.pass_on()
    assert os.readlink(shared.lock) == shared.other


def test_what_a_killed_helper_left_is_replaced(shared: Shared) -> None:
    new = f"{shared.lock}.{shared.other}"
    os.symlink(shared.other, new)
    assert shared.pass_on()
    assert os.readlink(shared.lock) == shared.other
    assert not os.path.lexists(new)


def test_another_file_of_that_name_stays(shared: Shared) -> None:
    new = f"{shared.lock}.{shared.other}"
    os.symlink("elsewhere", new)
    assert not shared.pass_on()
    assert os.readlink(new) == "elsewhere"
    assert os.readlink(shared.lock) == str(os.getpid())
