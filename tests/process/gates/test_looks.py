"""A process that keeps the kernel from answering stops a helper, but not the supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.handover import census, gate, listener_changes
from sockact.handover.adoption import call_arguments, own_socket
from sockact.handover.interest import interest
from sockact.kernel import helper, looks, procfs
from sockact.kernel.looks import Blocked
from sockact.kernel.sockets import listener as listeners
from tests.support import wait
from tests.support.child import inode
from tests.support.helpers import computes, helpers
from tests.support.limits import no_descriptors_left
from tests.support.stuck import PAGE, is_stuck, stuck_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sockact.kernel.sockets.listener import Listener


@pytest.fixture
def told() -> Iterator[list[tuple[object, str]]]:
    """Looks run in a helper; each process is a group of its own. What is reported."""
    found: list[tuple[object, str]] = []
    looks.begin(lambda pid: pid, lambda group, message: found.append((group, message)))
    yield found
    looks.end()


@pytest.fixture
def stuck(folder: Path) -> Iterator[str]:
    with stuck_file(folder) as path:
        yield path


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield listeners.of_socket("web", sock, owned=False)


@contextlib.contextmanager
def hostile(code: str, stuck: str, *fds: int) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Run `code`, with the page at `address` of the file `file`; what it prints, as numbers."""
    opened = f"{PAGE}\nmapped, address, file = page({stuck!r})\n"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", opened + code, *map(str, fds)],
        pass_fds=fds,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process, [int(word) for word in process.stdout.readline().split()]
        finally:
            process.kill()
            # Threads that wait for the page end with the server.
            os.kill(int(stuck.split("/")[2]), signal.SIGKILL)


def test_memory_that_never_arrives(told: list[tuple[object, str]], stuck: str) -> None:
    code = """
sock = socket.socket()
print(address, sock.fileno(), flush=True)
input()
"""
    with hostile(code, stuck) as (process, found):
        address, fd = found
        for _ in range(2):
            with pytest.raises(Blocked):
                procfs.memory(process.pid, address, 16)
        # Nor is it looked at in other ways, but others are.
        with pytest.raises(Blocked):
            procfs.sockets(process.pid)
        assert procfs.process(os.getpid())
        (report,) = told
        assert report[0] == process.pid
        assert f"process {process.pid} keeps the kernel from answering" in report[1]
        looks.forget(process.pid)
        with pytest.raises(Blocked):
            call_arguments.of_socket(process.pid, fd, address, 16)


def test_an_epoll_instance_that_is_locked(
    told: list[tuple[object, str]], stuck: str, listener: Listener
) -> None:
    code = """
poll = select.epoll()
poll.register(int(sys.argv[1]), select.EPOLLIN)
read, write = os.pipe()
os.write(write, b"x")
poll.register(read, select.EPOLLIN)
print(poll.fileno(), flush=True)
libc.epoll_wait(poll.fileno(), ctypes.c_void_p(address), 10, -1)
"""
    fd = listener.socket.fileno()
    with hostile(code, stuck, fd) as (process, (epfd,)):
        wait.until(lambda: is_stuck(process.pid), "the lock to be held")
        with pytest.raises(Blocked):
            gate.entries([process.pid], {listener.inode})
        looks.forget(process.pid)
        with pytest.raises(Blocked):
            interest([process.pid], {listener.inode})
        looks.forget(process.pid)
        entry = gate.Entry(process.pid, epfd, fd, 1, fd, listener.inode)
        with pytest.raises(gate.GateRefused, match="keeps the kernel from answering"):
            gate.close([entry], {listener.inode: fd})
        looks.forget(process.pid)
        with pytest.raises(Blocked):  # Before its bind().
            own_socket.place(process.pid, fd, listener.inode)
        assert len(told) == 4


def test_a_listener_that_is_locked(
    told: list[tuple[object, str]], stuck: str, listener: Listener
) -> None:
    code = """
print(1, flush=True)
program = struct.pack("@HP", 1, address)
libc.setsockopt(int(sys.argv[1]), socket.SOL_SOCKET, 26, program, len(program))
"""
    with hostile(code, stuck, listener.socket.fileno()) as (process, _):
        wait.until(lambda: is_stuck(process.pid), "the lock to be held")
        with pytest.raises(Blocked):
            listener_changes.tidy([(listener, 5, None)], admit=True)
        with looks.charged("generation"), pytest.raises(Blocked):
            listener_changes.change(listener, (), first=True)
        with pytest.raises(Blocked):
            own_socket.look(process.pid, listener.socket.fileno())
        assert [group for group, _ in told] == ["listeners", "generation", process.pid]


def test_a_connection_that_is_locked(
    told: list[tuple[object, str]], stuck: str, listener: Listener
) -> None:
    code = """
import socket
connection = socket.socket(fileno=int(sys.argv[1]))
print(1, flush=True)
libc.send(connection.fileno(), ctypes.c_void_p(address), 4096, 0)
"""
    with (
        socket.create_connection(listener.socket.getsockname()) as client,
        listener.socket.accept()[0] as server,
        hostile(code, stuck, server.fileno()) as (process, _),
    ):
        wait.until(lambda: is_stuck(process.pid), "the lock to be held")
        with pytest.raises(Blocked):
            census.count({1: [os.getpid()]}, [listener])
        assert [group for group, _ in told] == ["connections"]
        assert client


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_helper_that_somebody_ends(
    told: list[tuple[object, str]], number: signal.Signals
) -> None:
    """The next look has another one."""
    assert procfs.lives(os.getpid())
    (first,) = helpers(os.getpid())
    os.kill(first, number)
    assert procfs.lives(os.getpid())
    # It is killed, which takes the kernel a moment.
    wait.until(lambda: first not in helpers(os.getpid()), "its end")
    assert told == []


def test_a_helper_holds_nothing(told: list[tuple[object, str]], listener: Listener) -> None:
    """Neither a lock nor a listener of its parent."""
    assert procfs.lives(os.getpid())
    (pid,) = helpers(os.getpid())
    (target,) = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert target.startswith("socket:")
    assert listener.inode not in procfs.sockets(pid).values()
    assert told == []


def test_a_function_that_is_loaded_later(told: list[tuple[object, str]]) -> None:
    """The supervisor loads much of itself after the launch, and the helper after the first look."""
    assert procfs.lives(os.getpid())

    @looks.apart
    def late(pid: int) -> bool:
        return pid != os.getpid()

    assert late(os.getpid())
    assert len(helpers(os.getpid())) == 1
    assert told == []


def test_results_and_exceptions_come_through(
    told: list[tuple[object, str]], listener: Listener
) -> None:
    us, fd = os.getpid(), listener.socket.fileno()
    assert procfs.sockets(us)[fd] == listener.inode
    assert procfs.process(us) == procfs.process(us)
    assert procfs.process(2**22 + 1) is None
    with pytest.raises(FileNotFoundError):
        procfs.memory(2**22 + 1, 0, 1)
    with pytest.raises(OSError, match="Input/output error"):
        procfs.memory(us, 0, 1)
    assert inode(listener.socket) == listener.inode
    assert told == []


@pytest.mark.parametrize("limit", [contextlib.nullcontext, no_descriptors_left])
def test_a_helper_that_computes_is_not_given_up(
    told: list[tuple[object, str]],
    monkeypatch: pytest.MonkeyPatch,
    limit: Callable[[], contextlib.AbstractContextManager[None]],
) -> None:
    """A look at very much takes long, and a busy machine makes it longer. Nor is one whose state
    cannot be read.
    """
    monkeypatch.setattr(helper, "_SLICE", 0.001)
    monkeypatch.setattr(helper, "_LONGEST", wait.TIMEOUT)
    patience = helper._SLICE * helper._PATIENCE
    assert procfs.lives(os.getpid())  # There is a helper now.
    with limit():
        assert computes(os.getpid(), 5 * patience) == os.getpid()
    assert told == []


def test_helpers_that_were_given_up_are_few(
    told: list[tuple[object, str]], stuck: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They count until they have ended, even if nobody remembers what they looked at."""
    monkeypatch.setattr(helper, "_MOST_GIVEN_UP", 2)
    with hostile("print(address, flush=True)\ninput()\n", stuck) as (process, (address,)):
        for group in ("one", "two"):
            with looks.charged(group), pytest.raises(Blocked):
                procfs.memory(process.pid, address, 16)
            looks.forget(group)
        assert len(looks.helpers()) == 2
        with pytest.raises(Blocked):
            procfs.lives(os.getppid())
    # Its server has ended.
    wait.until(lambda: looks.helpers() == set(), "the helpers to end")
    assert procfs.lives(os.getppid())
    assert len(told) == 2
