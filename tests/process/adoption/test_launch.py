"""Between fork and exec the child is a copy of the supervisor but must not act like it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.processes import launch
from tests import ROOT
from tests.support import wait
from tests.support.limits import no_descriptors_left
from tests.support.program import Program
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# SIGCANCEL and SIGSETXID, 32 and 33: out of Python's reach, whoever started us changed them.
GLIBC_OWN = 0b11 << 31

SLEEPER = launch.Launch(("sleep", "60"), "/", dict(os.environ))

# The supervisor is killed between fork(2) and prctl(2).
KILLED = """
import os, select, signal
from sockact.supervisor.processes import launch
real = launch.die_with_parent
def late(number):
    supervisor = os.getppid()
    ended = os.pidfd_open(supervisor)
    os.kill(supervisor, signal.SIGKILL)
    select.select([ended], [], [])
    real(number)
launch.die_with_parent = late
launch.spawn(launch.Launch(("echo", "runs"), "/", dict(os.environ)))
signal.pause()
"""


@pytest.fixture
def wakeup() -> Iterator[socket.socket]:
    """The descriptor from which the supervisor's loop reads signal numbers."""
    receive, send = socket.socketpair()
    receive.setblocking(False)
    send.setblocking(False)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(send.fileno())
    yield receive
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, before)
    receive.close()
    send.close()


def test_signal_before_exec_is_the_childs_own(wakeup: socket.socket) -> None:
    """A SIGTERM for the child must end it, and not stop the supervisor."""
    for _ in range(20):
        pid, news = launch.spawn(SLEEPER)
        try:
            os.kill(pid, signal.SIGTERM)
            ended = wait.ended(pid, timeout=5)
        finally:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            news.close()
        assert ended
        assert os.WTERMSIG(status) == signal.SIGTERM
        with pytest.raises(BlockingIOError):
            wakeup.recv(100)


def test_mask_is_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    pid, news = launch.spawn(SLEEPER)
    try:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
        assert wait.readable(news.fileno())
        assert launch.read_news(news) is None
        blocked, ignored = masks(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        news.close()
    assert blocked & ~GLIBC_OWN == 0
    assert ignored & ~GLIBC_OWN == 0


def test_no_program_without_its_supervisor() -> None:
    command = [sys.executable, "-c", KILLED]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=wait.TIMEOUT)
    assert (found.returncode, found.stdout) == (-signal.SIGKILL, b"")


def masks(pid: int) -> tuple[int, int]:
    """The signals that a process blocks, and those that it ignores."""
    with open(f"/proc/{pid}/status") as lines:
        found = dict(line.split(":\t") for line in lines if line.startswith("Sig"))
    return int(found["SigBlk"], 16), int(found["SigIgn"], 16)


def serve(folder: Path, body: str, through: str) -> subprocess.Popen[str]:
    """`sockact run` of a program, by way of a shell command that ends in `"$@"`."""
    program = Program(folder)
    program.publish("1", body)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SOCKACT_RUNTIME_DIR": str(folder / "run"),
    }
    words = (*SOCKACT, "run", "--name", "test", "--listen", *program.listen, "--")
    return subprocess.Popen(
        ["/bin/sh", "-c", through, "sh", *words, *program.command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
    )


@pytest.mark.parametrize("closed", ["2>&-", "0<&- 2>&-", "0<&- 1>&- 2>&-", "1>&-"])
def test_closed_standard_descriptors(folder: Path, closed: str) -> None:
    """They are /dev/null for supervisor and program; no other file gets their numbers."""
    told = folder / "told"
    body = f"""
ours = [os.readlink(f"/proc/{{os.getppid()}}/fd/{{fd}}") for fd in (0, 1, 2)]
own = [os.readlink(f"/proc/self/fd/{{fd}}") for fd in (0, 1, 2)]
open({str(told)!r}, "w").write("\\n".join(ours + own))
raise SystemExit(7)
"""
    with serve(folder, body, f'exec "$@" {closed}') as process:
        assert process.wait(10) == 7
    links = told.read_text().splitlines()
    assert len(links) == 6
    for fd in map(int, closed.replace(">", "<").replace("<&-", "").split()):
        assert links[fd] == links[fd + 3] == "/dev/null"


def test_file_limits(folder: Path) -> None:
    """The supervisor raises its limit to the maximum; the program gets the original one."""
    told = folder / "told"
    body = f"""
def soft(pid):
    with open(f"/proc/{{pid}}/limits") as lines:
        return next(line.split()[3:5] for line in lines if line.startswith("Max open files"))
open({str(told)!r}, "w").write(repr((soft(os.getppid()), soft(os.getpid()))))
raise SystemExit(7)
"""
    with serve(folder, body, 'ulimit -Sn 100; ulimit -Hn 512; exec "$@"') as process:
        assert process.wait(10) == 7
    assert told.read_text() == repr((["512", "512"], ["100", "512"]))


def test_too_few_files(folder: Path) -> None:
    with serve(folder, "", 'ulimit -n 40; exec "$@"') as process:
        assert process.wait(10) == 2
        assert process.stdout
        (line,) = process.stdout.read().splitlines()
    assert "LimitNOFILE=" in line
    assert "ulimit -n" in line


def test_news_for_which_there_is_no_descriptor() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        socket.send_fds(theirs, [b"filter"], [theirs.fileno()])
        with no_descriptors_left():
            assert launch.read_news(ours) == launch.LaunchFailure("seccomp", errno.EMFILE)
