"""A thread that has ended while its call was looked at: another one may have its number."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, NoReturn

import pytest

from sockact.handover.adoption import own_socket
from sockact.handover.adoption.adopt import Adoption
from sockact.handover.adoption.callers import Callers
from sockact.handover.adoption.lock_files import LockFiles
from sockact.kernel import pidfd, seccomp
from sockact.kernel.seccomp import Call
from sockact.kernel.sockets import listener as listeners

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.handover.adoption.own_socket import OwnSocket


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def _bind_and_listen(address: tuple[str, int], told: int) -> NoReturn:
    """A child whose own socket has an option that the listener has not, from bind() on."""
    with socket.socket() as own, own.dup() as copy:
        os.write(told, b"%d" % seccomp.install({Call.BIND, Call.LISTEN}))
        own.bind(address)
        copy.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        copy.listen()
    os._exit(1)


def test_listen(sock: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    heard, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        _bind_and_listen(sock.getsockname(), told)
    fd = pidfd.getfd(pid, int(os.read(heard, 10)))
    os.close(heard)
    os.close(told)
    web = listeners.of_socket("web", sock, owned=False)
    callers = Callers(lambda: pid, lambda: [pid])
    adoption = Adoption([web], callers, LockFiles(lambda _pid: False))
    assert adoption.handle(fd) is Call.BIND
    assert adoption.adopted == {web.inode}
    real = own_socket.look

    def look(tid: int, target: int) -> OwnSocket | None:
        found = real(tid, target)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return found

    monkeypatch.setattr(own_socket, "look", look)
    assert adoption.handle(fd) is Call.LISTEN
    os.close(fd)
    assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
