"""Whether a process is at rest, seen from outside of real programs."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.handover.gate import at_rest
from sockact.kernel import procfs, waits
from tests.support import wait
from tests.support.child import child

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITS = "e = select.epoll(); e.register(fd, 1); e.poll()"
BUSY_WITH_WHAT_IT_WAS_TOLD_OF = "e = select.epoll(); e.register(fd, 1); sys.stdin.read()"
ANOTHER_THREAD_WAITS = """
e, other = select.epoll(), select.epoll()
threading.Thread(target=other.poll).start()
sys.stdin.read()
"""
WAITS_ON_A_DUPLICATE = """
e = select.epoll(); e.register(fd, 1)
select.epoll.fromfd(os.dup(e.fileno())).poll()
"""
RUNS = "while True: pass"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def epolls(pid: int, number: int) -> set[int]:
    def found() -> list[int]:
        return procfs.sockets_and_epolls(pid)[1]

    wait.until(lambda: len(found()) == number, "its epoll instances")
    return set(found())


def test_a_process_in_epoll_wait_is_at_rest(listener: socket.socket) -> None:
    with child(WAITS, listener) as process:
        loops = epolls(process.pid, 1)
        wait.until(lambda: at_rest(process.pid, loops), "it to be at rest")


def test_a_process_that_waits_on_a_duplicate_is_at_rest(listener: socket.socket) -> None:
    with child(WAITS_ON_A_DUPLICATE, listener) as process:
        loops = epolls(process.pid, 2)
        wait.until(lambda: at_rest(process.pid, loops), "it to be at rest")


def test_a_stopped_process_is_not_at_rest(listener: socket.socket) -> None:
    with child(WAITS, listener) as process:
        loops = epolls(process.pid, 1)
        wait.until(lambda: at_rest(process.pid, loops), "it to be at rest")
        process.send_signal(signal.SIGSTOP)
        wait.until(lambda: not at_rest(process.pid, loops), "it to be stopped")
        process.send_signal(signal.SIGCONT)
        wait.until(lambda: at_rest(process.pid, loops), "it to be at rest again")


@pytest.mark.parametrize(
    ("code", "number"), [(BUSY_WITH_WHAT_IT_WAS_TOLD_OF, 1), (ANOTHER_THREAD_WAITS, 2)]
)
def test_a_process_that_sleeps_elsewhere_is_at_rest_without_a_loop(
    code: str, number: int, listener: socket.socket
) -> None:
    """A thread between epoll_wait and accept may sleep for another reason."""
    with child(code, listener) as process:
        loops = epolls(process.pid, number)
        wait.until(lambda: at_rest(process.pid, set()), "it to sleep")
        assert not at_rest(process.pid, loops)


def test_a_running_process_is_not_at_rest(listener: socket.socket) -> None:
    with child("print(flush=True)\n" + RUNS, listener) as process:
        assert process.stdout
        process.stdout.readline()
        assert not at_rest(process.pid, set())


def test_an_unreadable_process_is_not_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads(_pid: int) -> list[waits.Thread]:
        raise PermissionError

    monkeypatch.setattr(waits, "threads", threads)
    assert not at_rest(os.getpid(), set())


def test_a_process_that_is_gone_is_at_rest(listener: socket.socket) -> None:
    with child("", listener) as process:
        process.wait()
    assert at_rest(process.pid, {3})
