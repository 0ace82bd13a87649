"""Calls of a generation that keeps the kernel from answering about it."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, NoReturn

import pytest

from sockact.handover.adoption.adopt import Adoption
from sockact.handover.adoption.callers import Callers
from sockact.handover.adoption.lock_files import LockFiles
from sockact.kernel import helper, looks, pidfd, seccomp
from sockact.kernel.looks import Blocked
from sockact.kernel.seccomp import Call
from sockact.kernel.sockets import listener as listeners
from tests.support.helpers import never_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _call(adoption: Adoption, sock: socket.socket, path: str, told: int) -> NoReturn:
    """A child, which ends with the number of calls that did not fail with EBUSY."""
    os.write(told, b"%d" % seccomp.install(adoption.calls))
    calls: list[Callable[[], None]] = [
        lambda: sock.listen(0),
        lambda: sock.shutdown(socket.SHUT_RDWR),
        lambda: os.unlink(path),
    ]
    for call in calls:
        try:
            call()
        except OSError as error:
            if error.errno == errno.EBUSY:
                continue
        os._exit(1)
    os._exit(0)


def test_calls_that_would_harm_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "_PAUSES", (3600.0,))
    path = str(folder / "web.sock")
    heard, told = os.pipe()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen(5)
        web = listeners.of_socket("web", sock, owned=False)
        callers = Callers(lambda: None, lambda: [])
        adoption = Adoption([web], callers, LockFiles(lambda _pid: False))
        pid = os.fork()
        if pid == 0:
            _call(adoption, sock, path, told)
        fd = pidfd.getfd(pid, int(os.read(heard, 10)))
        looks.begin(lambda pid: pid, lambda _group, _message: None)
        with pytest.raises(Blocked):
            never_answers(pid)
        called = [adoption.handle(fd) for _ in range(3)]
        looks.end()
        assert called[:2] == [Call.LISTEN, Call.SHUTDOWN]
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
    for one in (heard, told, fd):
        os.close(one)
