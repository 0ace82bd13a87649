"""A thread that gets no CPU to take its listener does not keep the supervisor waiting."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from sockact.handover.adoption.callers import Callers
from sockact.handover.adoption.lock_files import LockFiles
from sockact.kernel import procfs, seccomp
from sockact.kernel.sockets.listener import of_socket
from sockact.supervisor.generations import bind_requests
from tests import ROOT
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.supervisor.base.loop import Loop

BINDS = """
import socket, sys
from sockact.kernel import seccomp
door, own = socket.socket(fileno=int(sys.argv[1])), socket.socket()
socket.send_fds(door, [b"x"], [seccomp.install({seccomp.Call.BIND})])
own.bind(("127.0.0.1", int(sys.argv[2])))
print("bound", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


@contextlib.contextmanager
def binding(port: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that binds this port, and the descriptor of its notifications."""
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        subprocess.Popen(
            [sys.executable, "-c", BINDS, str(theirs.fileno()), str(port)],
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        try:
            ours.settimeout(wait.TIMEOUT)
            _data, [fd], _flags, _address = socket.recv_fds(ours, 1, 1)
            yield process, fd
        finally:
            process.kill()


def bound(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout
    return wait.readable(process.stdout.fileno()) != [] and process.stdout.readline() == b"bound\n"


def test_a_thread_that_is_late_can_be_served_later(listener: socket.socket) -> None:
    """However often it was too late: the call goes on as if nothing had happened."""
    with binding(listener.getsockname()[1]) as (process, fd):
        call = seccomp.receive(fd)
        assert call is not None
        target, taken = call.arguments[0], False
        deadline = time.monotonic() + wait.TIMEOUT
        while not taken and time.monotonic() < deadline:
            with contextlib.suppress(seccomp.Late):
                seccomp.put_fd(fd, call, listener.fileno(), target, cloexec=True, within=0.001)
                taken = True
        assert procfs.socket_inode(process.pid, target) == os.fstat(listener.fileno()).st_ino
        seccomp.answer(fd, call)
        assert bound(process)
        os.close(fd)


def test_the_supervisor_goes_on_meanwhile(
    loop: Loop, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, late = seccomp.put_fd, [seccomp.Late(4, "late"), seccomp.Late(4, "late")]

    def put_late(fd: int, call: seccomp.Notification, *rest: int, cloexec: bool) -> None:
        if late:
            raise late.pop()
        put(fd, call, *rest, cloexec=cloexec)

    monkeypatch.setattr(seccomp, "put_fd", put_late)
    monkeypatch.setattr(bind_requests, "_AGAIN", 0.01)
    answered: list[bool] = []
    found = of_socket("x", listener, owned=False)
    with binding(found.address.port) as (process, fd):
        callers = Callers(lambda: process.pid, lambda: [process.pid])
        locks = LockFiles(lambda _pid: False)
        requests = bind_requests.BindRequests(
            loop,
            1,
            [found],
            callers,
            locks,
            lambda: answered.append(requests.is_busy()),
            lambda: None,
        )
        requests.watch(fd)
        deadline = time.monotonic() + wait.TIMEOUT
        while not (answered and not answered[-1]) and time.monotonic() < deadline:
            loop.at(time.monotonic() + 0.01, loop.stop)
            loop.run()
        assert answered == [False]
        assert bound(process)
        requests.close()
