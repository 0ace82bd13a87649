"""The supervisor's side of seccomp notifications: withdrawn ones, and many at a time."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sockact.handover.adoption import availability, own_socket
from sockact.handover.adoption.callers import Callers
from sockact.handover.adoption.lock_files import LockFiles
from sockact.kernel import seccomp
from sockact.kernel.sockets import sockopt
from sockact.supervisor.base.commands import Command, CommandRun
from sockact.supervisor.base.loop import READ, Loop
from sockact.supervisor.generations.bind_requests import BindRequests
from sockact.supervisor.probes.readiness import ReadinessProbe
from sockact.supervisor.processes.processes import exit_of
from tests.support import wait
from tests.support.program import Program, ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService


def test_notification_that_was_taken_back() -> None:
    """Nothing to read is not the end: only the hang-up is. A pipe polls as a notification fd."""
    loop = Loop()
    reader, writer = os.pipe()
    callers, locks = Callers(lambda: None, list), LockFiles(lambda _pid: False)
    requests = BindRequests(loop, 1, [], callers, locks, lambda: None, lambda: None)
    requests.watch(reader)
    requests._notified(READ)
    assert loop.watched(reader)
    os.close(writer)
    requests._notified(READ)
    assert not loop.watched(reader)
    loop.close()


def test_only_the_listeners_file_stays(start: StartService, folder: Path) -> None:
    """Whatever the path looks like; a file of the same name elsewhere goes."""
    path = folder / "sock"
    (folder / "other").mkdir()
    others = [folder / "other" / "sock", folder / "plain", folder / "sock2"]
    for other in others:
        other.touch()
    (folder / "link").symlink_to(folder)
    program = Program(folder)
    program.publish(
        "1",
        f"""
os.chdir({str(folder)!r})
for name in ("sock", "./sock", "other/../sock", "link/sock", {str(path)!r}):
    os.unlink(name)
here = os.open(".", os.O_RDONLY)
os.unlink("sock", dir_fd=here)
os.unlink("plain")
os.unlink("sock2", dir_fd=here)
os.unlink("other/sock")
os.rmdir("other")
for name in ("nothing", ""):
    try:
        os.unlink(name)
    except FileNotFoundError:
        pass
    else:
        raise SystemExit(9)
accept(bound({str(path)!r}, socket.AF_UNIX))
""",
    )
    start(program.command, listen=(str(path),), options=("--adopt", "seccomp"))
    assert ask(str(path)) == "1"
    assert [other for other in others if other.exists()] == []


def test_calls_of_a_running_generation_change_nothing(start: StartService, folder: Path) -> None:
    """Neither unlink nor a bind elsewhere matters to the lifecycle any more."""
    path, gate, done = folder / "sock", folder / "gate", folder / "done"
    program = Program(folder)
    program.publish(
        "1",
        f"""
def work():
    while not os.path.exists({str(gate)!r}):
        time.sleep(0.01)
    for number in range(2000):
        open({str(folder / "file")!r}, "w").close()
        os.unlink({str(folder / "file")!r})
    for number in range(200):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
    open({str(done)!r}, "w").close()
threading.Thread(target=work).start()
accept(bound({str(path)!r}, socket.AF_UNIX))
""",
    )
    service = start(program.command, listen=(str(path),), options=("--adopt", "seccomp"))
    gate.touch()
    wait.until(done.exists, "the work", timeout=20)
    assert service.states() == {1: "running"}
    assert ask(str(path)) == "1"


def test_options_of_a_descriptor_that_is_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptor was replaced meanwhile: nothing is carried, and nothing is left open."""
    made: list[int] = []

    def getfd(_pid: int, _fd: int) -> int:
        made.append(os.open("/dev/null", os.O_RDONLY))
        return made[-1]

    monkeypatch.setattr("sockact.kernel.pidfd.getfd", getfd)
    assert own_socket.look(os.getpid(), 0) is None
    assert not os.path.exists(f"/proc/self/fd/{made[0]}")


def test_options_without_a_descriptor_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as own:

        def none(*_arguments: object) -> None:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(socket, "socket", none)
        assert sockopt.changed(own) == ()


def test_no_process_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the seccomp way cannot be tried, the reason is told."""

    def none() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", none)
    assert availability.Attempt().reason() == "cannot fork: Resource temporarily unavailable"


ALLOW = "; allow seccomp in SystemCallFilter=, or set SystemCallErrorNumber=EPERM"


@pytest.mark.parametrize(("number", "remedy"), [(signal.SIGSYS, ALLOW), (signal.SIGKILL, "")])
def test_an_attempt_that_is_killed(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, remedy: str
) -> None:
    """By the filter of a unit without SystemCallErrorNumber=, say."""

    def install(_calls: object) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), number)

    monkeypatch.setattr(seccomp, "install", install)
    why = f"cannot install a seccomp filter: killed by {number.name}{remedy}"
    assert availability.Attempt().reason() == why


def test_sender_that_has_ended_is_believed(start: StartService, folder: Path) -> None:
    """As `sh -c 'systemd-notify --ready; exec server'`: gone before we look whose it is."""
    program = Program(folder)
    program.publish(
        "1",
        """
found = bound()
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
    sock.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
    for _ in range(5):
        os.kill(os.getppid(), signal.SIGSTOP)
        if os.fork() == 0:
            sock.send(b"READY=1")
            os._exit(0)
        os.wait()
        os.kill(os.getppid(), signal.SIGCONT)
accept(found)
""",
    )
    options = ("--ready", "notify", "--start-timeout", "20s")
    start(program.command, listen=program.listen, options=options)
    assert program.ask() == "1"


def test_living_stranger_is_named(start: StartService, folder: Path) -> None:
    """It is not believed, and the message of the failure says that there was one."""
    told = folder / "told"
    program = Program(folder)
    program.publish(
        "1",
        f"""
found = bound()
with open({str(told)!r} + ".new", "w") as file:
    file.write(os.environ["NOTIFY_SOCKET"])
os.rename(file.name, {str(told)!r})
accept(found)
""",
    )
    options = ("--ready", "notify", "--start-timeout", "3s", "--kill-timeout", "1s")
    service = start(program.command, listen=program.listen, options=options, ready=False)
    wait.until(told.exists, "the program's socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(told.read_text().replace("@", "\0", 1))
        for _ in range(3):
            sock.send(b"READY=1")
        assert service.process.wait(10) != 0
    assert f"process {os.getpid()} of user {os.getuid()} did" in service.stderr


@pytest.mark.parametrize(
    ("ready", "why"),
    [
        ("exec:exit 42", "exited with status 42"),
        ("exec:kill -9 $$", "was killed by signal 9"),
        ("http://127.0.0.1:1/", "no response"),
        ("http://127.0.0.1:{port}/", "got status 503 instead of 200 to 399"),
    ],
)
def test_probe_says_why_it_did_not_pass(
    start: StartService, folder: Path, ready: str, why: str
) -> None:
    program = Program(folder)
    program.publish("HTTP/1.0 503 Not yet\r\n\r\n")
    ready = ready.format(port=program.port)
    options = ("--ready", ready, "--start-timeout", "3s", "--kill-timeout", "1s")
    service = start(program.command, listen=program.listen, options=options, ready=False)
    assert service.process.wait(10) != 0
    assert f"the probe {ready} did not pass; last attempt: {why}" in service.stderr


def test_native_program_that_binds_itself(start: StartService, folder: Path) -> None:
    program = Program(folder)
    options = ("--adopt", "native")
    service = start(program.command, listen=program.listen, options=options, ready=False)
    assert service.process.wait(10) == 1
    assert "before it was ready: if its address was in use" in service.stderr
    assert "LISTEN_FDS" in service.stderr


def test_probe_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as a failed attempt; the next may succeed."""
    loop = Loop()
    told: list[str] = []
    spawn = os.posix_spawnp

    def none(*_arguments: object, **_options: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "posix_spawnp", none)
    probe = ReadinessProbe(
        loop,
        partial(CommandRun, loop, Command(("/bin/true",)), {}, None),
        lambda: told.append("passed"),
        lambda: told.append("failed"),
    )
    assert probe.reason == "cannot start: Resource temporarily unavailable"
    loop.at(time.monotonic() + 0.3, loop.stop)
    loop.run()
    assert told == ["failed"]
    monkeypatch.setattr(os, "posix_spawnp", spawn)
    loop.at(time.monotonic() + 0.3, loop.stop)
    loop.run()
    pid, status = os.waitpid(-1, 0)
    loop.child_ended(pid, exit_of(status))
    assert told == ["failed", "passed"]
    loop.close()
