"""Processes that the supervisor may not read, and times when it cannot read any."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.handover import census
from sockact.handover.interest import interest
from sockact.kernel import epoll, pidfd, procfs, waits
from sockact.kernel.sockets import listener as listeners
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.generations.interest_watch import InterestWatch
from sockact.supervisor.processes.processes import Processes
from tests.support import wait
from tests.support.child import child, inode
from tests.support.limits import no_descriptors_left

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def refuse(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    """The kernel does not show this process's descriptors (root may read everything)."""
    real = procfs.sockets_and_epolls

    def sockets_and_epolls(pid: int) -> tuple[dict[int, int], list[int]]:
        if pid == refused:
            raise PermissionError(13, "Permission denied", f"/proc/{pid}/fd")
        return real(pid)

    monkeypatch.setattr(procfs, "sockets_and_epolls", sockets_and_epolls)


def test_interest_without_the_unreadable_processes(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    key = inode(listener)
    with child("listener.accept()", listener) as process:
        refuse(monkeypatch, 1)
        wait.until(
            lambda: interest([1, process.pid], {key}) == ({key}, {1}),
            "the process that can be read to wait",
        )


def test_census_without_the_unreadable_processes(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    web = listeners.of_socket("web", listener, owned=True)
    refuse(monkeypatch, 1)
    with socket.create_connection(listener.getsockname()), listener.accept()[0]:
        counts = census.count({1: [1, os.getpid()]}, [web])
        assert counts
        assert counts[1].fresh == 1
        with pytest.raises(PermissionError):
            census.count({1: [1]}, [web])


def test_no_descriptor_is_no_answer() -> None:
    for question in (
        procfs.process,
        procfs.children,
        procfs.sockets,
        epoll.of_process,
        waits.blocked_calls,
        procfs.initial_environment,
        lambda pid: procfs.memory(pid, 4096, 1),
        lambda pid: pidfd.send_signal(pid, 0),
        lambda _pid: procfs.processes(),
    ):
        with no_descriptors_left(), pytest.raises(procfs.Unavailable):
            question(os.getpid())


class OnlyThese(Processes):
    """A generation of exactly these processes."""

    def __init__(self, *pids: int) -> None:
        super().__init__("")
        self._pids = list(pids)

    def of(self, _generation: int) -> list[int]:
        return self._pids


def test_the_watch_goes_on(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    """An unreadable process is reported and checked again."""
    web = listeners.of_socket("web", listener, owned=True)
    loop = Loop()
    told: list[str] = []
    with child("listener.accept()", listener) as process, monkeypatch.context() as patched:
        refuse(patched, process.pid)

        def blind(hint: str) -> None:
            told.append(hint)
            patched.undo()

        InterestWatch(loop, 1, OnlyThese(process.pid), [web], loop.stop, blind)
        loop.run()
        assert told == [f"cannot read process {process.pid}"]
    loop.close()


def test_a_watch_that_cannot_look_goes_on(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    web = listeners.of_socket("web", listener, owned=True)
    loop = Loop()
    real = procfs.sockets_and_epolls
    failures = [1, 2, 3]

    def sockets(pid: int) -> tuple[dict[int, int], list[int]]:
        if failures:
            raise procfs.Unavailable(24, "Too many open files", failures.pop())
        return real(pid)

    monkeypatch.setattr(procfs, "sockets_and_epolls", sockets)
    with child("listener.accept()", listener) as process:
        InterestWatch(loop, 1, OnlyThese(process.pid), [web], loop.stop, pytest.fail)
        loop.run()
    assert not failures
    loop.close()
