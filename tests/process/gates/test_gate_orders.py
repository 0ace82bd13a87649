"""Overlapping orders to a gate: only the last one counts."""

from __future__ import annotations

import os
import select
import signal
import socket
from typing import TYPE_CHECKING, cast

import pytest

from sockact.core.lifecycle.model import Gate
from sockact.core.record import replace
from sockact.handover import gate
from sockact.handover.interest import process_interest
from sockact.kernel import procfs, waits
from sockact.kernel.looks import Unavailable
from sockact.kernel.sockets import listener as listeners
from sockact.supervisor.gates.gates import Gates
from tests.support import lanes, wait
from tests.support.child import child, inode
from tests.support.limits import no_descriptors_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls

ACCEPTS = "listener.accept()"
AGAIN = """
e = select.epoll()
for line in sys.stdin:
    e.register(fd, int(line))
    print(flush=True)
"""
FORKS = "sys.stdin.read() if os.fork() else listener.accept()"
WAITS_IN_EPOLL = "e = select.epoll(); e.register(fd, 1); e.poll()"


class Held:
    """A stand-in for ShimCalls: every process has the shim and answers when the test says so."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []
        self.answers: list[Callable[[str], None]] = []

    def reaches(self, _pid: int) -> bool:
        return True

    def order(self, pid: int, words: str, done: Callable[[str], None], **_how: object) -> None:
        self.told.append((pid, words))
        self.answers.append(done)


class Living:
    """A stand-in for Processes: generation 1."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def of(self, _generation: int) -> list[int]:
        return self.pids


class Scene:
    """Servers, and the gate of their generation."""

    def __init__(self, listener: socket.socket, *servers: int) -> None:
        self.listener = listener
        self.calls, self.processes, self.moved = Held(), Living(), list[Gate]()
        for server in servers:
            self.begin_to_wait(server)
        web = listeners.of_socket("web", listener, owned=True)
        self.gates = Gates(
            cast("Processes", self.processes),
            cast("ShimCalls", self.calls),
            [web],
            lanes.shared([web]),
            lanes.admission([web]),
            lambda _number, gate, _why: self.moved.append(gate),
            lambda _number, _message: None,
        )

    def begin_to_wait(self, pid: int) -> None:
        """One more process of the generation."""
        inodes = {inode(self.listener)}
        wait.until(lambda: process_interest(pid, inodes) == inodes, "it to wait")
        self.processes.pids.append(pid)

    def entries(self) -> list[gate.Entry]:
        return gate.entries(self.processes.pids, {inode(self.listener)})


@pytest.fixture
def scene() -> Iterator[Scene]:
    with socket.create_server(("127.0.0.1", 0)) as listener, child(ACCEPTS, listener) as server:
        yield Scene(listener, server.pid)


def test_a_close_that_fails_late_is_not_a_failure_to_open(scene: Scene) -> None:
    scene.gates.close(1)
    scene.gates.open(1)
    close, reopen = scene.calls.answers
    close("no answer to 25 signals")
    assert scene.moved == []
    reopen("")
    assert scene.moved == [Gate.OPEN]


def test_a_close_that_ends_late_closes_nothing_more(scene: Scene) -> None:
    scene.gates.close(1)
    scene.gates.open(1)
    with child(WAITS_IN_EPOLL, scene.listener) as born:
        scene.begin_to_wait(born.pid)
        before = scene.entries()
        assert before
        scene.calls.answers[0]("")
        assert scene.entries() == before
    assert len(scene.calls.told) == 2


def test_an_open_that_fails_late_is_not_a_failure_to_close(scene: Scene) -> None:
    scene.gates.open(1)
    scene.gates.close(1)
    scene.calls.answers[0]("the shim closed the connection")
    assert scene.moved == []
    scene.calls.answers[1]("")
    assert scene.moved == [Gate.CLOSED]


def test_a_zombie_does_not_hold_up_a_gate() -> None:
    """A worker that its parent has not reaped yet."""
    with socket.create_server(("127.0.0.1", 0)) as listener, child(FORKS, listener) as parent:
        born = wait.until(lambda: procfs.children(parent.pid) or None, "the worker")[0]
        scene = Scene(listener, born)
        scene.gates.close(1)
        os.kill(born, signal.SIGKILL)
        wait.until(lambda: procfs.process(born) == ended(born), "it to end")
        scene.calls.answers[0]("no answer to 25 signals")
        assert scene.moved == [Gate.CLOSED]


def test_a_gate_that_cannot_be_opened_for_want_of_descriptors(scene: Scene) -> None:
    """It is opened later: nothing is forgotten, and no result is told."""
    with child(WAITS_IN_EPOLL, scene.listener) as server:
        scene.begin_to_wait(server.pid)
        before = scene.entries()
        scene.gates.close(1)
        assert scene.entries() == []
        with no_descriptors_left(), pytest.raises(Unavailable):
            scene.gates.open(1)
        assert scene.moved == []
        scene.gates.open(1)
        assert scene.entries() == before


def test_an_entry_removed_repeatedly_is_restored_as_it_was_last() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, child(AGAIN, listener) as process:
        assert process.stdin
        assert process.stdout
        scene = Scene(listener)
        for events in (select.EPOLLIN, select.EPOLLIN | select.EPOLLPRI):
            process.stdin.write(b"%d\n" % events)
            process.stdin.flush()
            process.stdout.readline()
            assert scene.gates.close_reopened(
                1, {process.pid: procfs.sockets_and_epolls(process.pid)[1]}
            )
        scene.gates.open(1)
        scene.processes.pids.append(process.pid)
        assert [entry.events & 3 for entry in scene.entries()] == [3]


def fail_at(monkeypatch: pytest.MonkeyPatch, pid: int, error: OSError) -> None:
    """The kernel does not show the blocked calls of this process (root may read everything)."""
    real = waits.blocked_calls

    def blocked_calls(asked: int) -> list[waits.BlockedCall]:
        if asked == pid:
            raise error
        return real(asked)

    monkeypatch.setattr(waits, "blocked_calls", blocked_calls)


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), procfs.Unavailable(11, "later")])
def test_one_that_cannot_be_read_does_not_keep_others_from_being_closed_again(
    monkeypatch: pytest.MonkeyPatch, scene: Scene, error: OSError
) -> None:
    """By Yama, say, with ptrace_scope 2."""
    (hidden,) = scene.processes.pids
    with child(ACCEPTS, scene.listener) as born:
        scene.begin_to_wait(born.pid)
        fail_at(monkeypatch, hidden, error)
        assert scene.gates.close_reopened(1, {hidden: [], born.pid: []})
        assert [pid for pid, _words in scene.calls.told] == [born.pid]


def test_what_was_taken_out_of_epoll_is_reported_whatever_fails_then(
    monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    (hidden,) = scene.processes.pids
    with child(WAITS_IN_EPOLL, scene.listener) as born:
        scene.begin_to_wait(born.pid)
        fail_at(monkeypatch, hidden, procfs.Unavailable(11, "later"))
        epolls = procfs.sockets_and_epolls(born.pid)[1]
        assert scene.gates.close_reopened(1, {hidden: [], born.pid: epolls})
        assert not scene.entries()


def test_whether_one_accepts_again_may_be_unknown(
    monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    (hidden,) = scene.processes.pids
    fail_at(monkeypatch, hidden, procfs.Unavailable(11, "later"))
    with pytest.raises(procfs.Unavailable):
        scene.gates.close_reopened(1, {hidden: []})


def ended(pid: int) -> procfs.Process | None:
    found = procfs.process(pid)
    return found and replace(found, zombie=True)
