"""A process that receives datagrams gets its stop signal while it has none in hand."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sockact.handover import interest
from sockact.kernel import pidfd, waits
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.base.retry import Retry
from sockact.supervisor.processes.last_datagrams import LastDatagrams
from sockact.supervisor.processes.processes import Processes, Signalled
from tests.support import wait
from tests.support.child import child, inode

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

ECHO = """
def receive():
    global data, peer
    data, peer = listener.recvfrom(100)

while True:
    RECEIVE
    print("has", flush=True)
    HANDLE
    listener.sendto(data, peer)
"""
RECEIVING = {
    "recvfrom": "data, peer = listener.recvfrom(100)",
    "recvmsg": "data, _, _, peer = listener.recvmsg(100)",
    "poll": "p = select.poll(); p.register(fd, 1); p.poll(); data, peer = listener.recvfrom(100)",
    "select": "select.select([fd], [], []); data, peer = listener.recvfrom(100)",
    "epoll": "e = select.epoll(); e.register(fd, 1); e.poll(); data, peer = listener.recvfrom(100)",
    "another thread": "w = threading.Thread(target=receive); w.start(); w.join()",
}
WAITS_ELSEWHERE = "sys.stdin.readline()"


def echo(receive: str = RECEIVING["recvfrom"], handle: str = "") -> str:
    return ECHO.replace("RECEIVE", receive).replace("HANDLE", handle)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        yield made


@pytest.fixture
def client(listener: socket.socket) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(wait.TIMEOUT)
        made.connect(listener.getsockname())
        yield made


def states(pid: int) -> set[str]:
    return {thread.state for thread in waits.threads(pid)}


def wait_held(pid: int, listener: socket.socket) -> None:
    wait.until(lambda: interest.hold(pid, {inode(listener)}), "it to wait for a datagram")


@pytest.mark.parametrize("receive", RECEIVING.values(), ids=RECEIVING)
def test_a_process_that_waits_for_a_datagram_is_held(
    receive: str, listener: socket.socket, client: socket.socket
) -> None:
    with child(echo(receive), listener) as process:
        wait_held(process.pid, listener)
        assert states(process.pid) == {"T"}
        client.send(b"1")
        interest.let_go(process.pid)
        assert client.recv(100) == b"1"


def test_a_process_with_a_datagram_in_hand_is_not_held(
    listener: socket.socket, client: socket.socket
) -> None:
    with child(echo(handle=WAITS_ELSEWHERE), listener) as process:
        assert process.stdin
        assert process.stdout
        client.send(b"1")
        process.stdout.readline()
        assert interest.hold(process.pid, {inode(listener)}) is False
        assert "T" not in states(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert client.recv(100) == b"1"


def test_a_process_that_is_stopped_as_it_takes_a_datagram_is_not_held(
    listener: socket.socket, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc shows it in recvfrom() all the same."""

    @contextmanager
    def on_one_processor(pid: int) -> Iterator[None]:
        before = os.sched_getaffinity(0)
        one = {min(before)}
        os.sched_setaffinity(pid, one)
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
        os.sched_setaffinity(0, one)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def send_signal(pid: int, number: int) -> bool:
        # The process runs, and takes the datagram, when this one waits for it to stop.
        client.send(b"1")
        os.kill(pid, number)
        return True

    with child(echo(), listener) as process:
        wait_held(process.pid, listener)
        interest.let_go(process.pid)
        wait.until(lambda: states(process.pid) == {"S"}, "it to wait again")
        monkeypatch.setattr(pidfd, "send_signal", send_signal)
        with on_one_processor(process.pid):
            assert not interest.hold(process.pid, {inode(listener)})
        assert client.recv(100) == b"1", "it goes on, and answers"


def test_nothing_is_to_be_waited_for(listener: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        with child(echo(), listener) as process:
            wait_held(process.pid, listener)
            assert interest.hold(process.pid, {inode(listener)}) is None, "stopped by others"
            assert interest.hold(process.pid, {inode(other)}) is None, "it has another socket"
    assert interest.hold(process.pid, {inode(listener)}) is None, "it has ended"


class Ending:
    """A loop that sends SIGTERM to generation 1, a process that receives on the listener."""

    def __init__(self, process: subprocess.Popen[bytes], inodes: set[int], patience: float) -> None:
        self.loop = Loop()
        processes = Processes("")
        processes.add(process.pid, 1)
        retry = Retry(self.loop, pytest.fail)
        self.sender = LastDatagrams(self.loop, retry, processes, inodes, patience)
        self.told: list[Signalled] = []
        self.sender.signal(1, signal.SIGTERM, self.told.append)

    def run(self, seconds: float | None = None) -> None:
        """Run the loop until the signal is sent, or for this time."""
        until = time.monotonic() + (wait.TIMEOUT if seconds is None else seconds)
        while self.sender.busy() and time.monotonic() < until:
            self.loop.at(time.monotonic() + 0.02, self.loop.stop)
            self.loop.run()


def test_a_datagram_in_hand_is_answered_before_the_signal(
    listener: socket.socket, client: socket.socket
) -> None:
    with child(echo(handle=WAITS_ELSEWHERE), listener) as process:
        assert process.stdin
        assert process.stdout
        client.send(b"1")
        process.stdout.readline()
        ending = Ending(process, {inode(listener)}, patience=wait.TIMEOUT)
        ending.run(0.1)
        assert not ending.told
        process.stdin.write(b"\n")
        process.stdin.flush()
        ending.run()
        assert ending.told == [Signalled((process.pid,), ())]
        assert process.wait(wait.TIMEOUT) == -signal.SIGTERM
        assert client.recv(100) == b"1"


def test_a_process_that_always_has_one_gets_its_signal_all_the_same(
    listener: socket.socket, client: socket.socket
) -> None:
    with child(echo(handle=WAITS_ELSEWHERE), listener) as process:
        assert process.stdout
        client.send(b"1")
        process.stdout.readline()
        ending = Ending(process, {inode(listener)}, patience=0.02)
        ending.run()
        assert ending.told == [Signalled((process.pid,), ())]
        assert process.wait(wait.TIMEOUT) == -signal.SIGTERM


def test_a_handler_runs_when_the_process_waits(listener: socket.socket) -> None:
    ends = partial(child, "import signal\nsignal.signal(15, lambda *_: os._exit(3))\n" + echo())
    with ends(listener) as process:
        wait.until(lambda: states(process.pid) == {"S"}, "it to wait")
        ending = Ending(process, {inode(listener)}, patience=wait.TIMEOUT)
        ending.run()
        assert process.wait(wait.TIMEOUT) == 3
