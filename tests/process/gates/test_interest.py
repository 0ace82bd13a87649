"""Interest and the epoll gate, seen from outside of real programs."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.handover import gate
from sockact.handover.interest import process_interest
from sockact.kernel import procfs
from tests.support import wait
from tests.support.child import child, inode

if TYPE_CHECKING:
    from collections.abc import Iterator

# io_uring without a library: one operation on a descriptor is submitted, and waited for.
RING = """
import ctypes, mmap, struct
call = ctypes.CDLL(None).syscall
parameters = ctypes.create_string_buffer(120)
ring = call(425, 8, parameters)
tail, = struct.unpack_from("=I", parameters, 44)
queue, entries = mmap.mmap(ring, 4096), mmap.mmap(ring, 4096, offset=0x10000000)
struct.pack_into("=BBHiQQII", entries, 0, OPERATION)
struct.pack_into("=I", queue, tail, 1)
call(426, ring, 1, 1, 1, None, 0)
"""

WAITING = {
    "accept": "listener.accept()",
    "accept in a thread": "threading.Thread(target=listener.accept).start()",
    "poll": "p = select.poll(); p.register(fd, select.POLLIN); p.poll()",
    "poll with a timeout": "p = select.poll(); p.register(fd, 1)\nwhile not p.poll(60000): pass",
    "select": "select.select([fd], [], [])",
    "epoll": "e = select.epoll(); e.register(fd); e.poll()",
    "epoll, edge-triggered": "e = select.epoll(); e.register(fd, 1 | select.EPOLLET); e.poll()",
    "a forked child": "os.fork() or listener.accept(); os.wait()",
    "io_uring": RING.replace("OPERATION", "13, 0, 0, fd, 0, 0, 0, 0"),
    "io_uring, multishot": RING.replace("OPERATION", "13, 0, 1, fd, 0, 0, 0, 0"),
}
NOT_WAITING = {
    "listens only": "sys.stdin.read()",
    "polls something else": "select.select([0], [], [])",
    "polls for writing": "select.select([0], [fd], [])",
    # As the supervisor does to notice a shutdown(), and with it each fork of its until its exec.
    "epoll for nothing but a hang-up": "e = select.epoll(); e.register(fd, 0); e.poll()",
    "io_uring for something else": RING.replace("OPERATION", "6, 0, 0, 0, 0, 0, 0, 1"),
    "epoll for writing": "e = select.epoll(); e.register(fd, select.EPOLLOUT); e.poll()",
}
EPOLL = """
e = select.epoll(); e.register(fd, select.EPOLLIN | FLAGS); listener.setblocking(False)
while True:
    for n, _ in e.poll():
        try:
            while True: listener.accept()[0].close()
        except BlockingIOError: pass
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def family(pid: int) -> list[int]:
    return [pid, *(p.pid for p in procfs.processes() if p.parent == pid)]


@pytest.mark.parametrize("code", WAITING.values(), ids=WAITING)
def test_a_program_that_waits_is_seen(code: str, listener: socket.socket) -> None:
    wanted = {inode(listener)}
    with child(code, listener) as process:
        wait.until(
            lambda: any(process_interest(pid, wanted) == wanted for pid in family(process.pid)),
            "the program to wait",
        )
        assert process_interest(process.pid, {1}) == set()
        for pid in reversed(family(process.pid)):
            os.kill(pid, 9)


@pytest.mark.parametrize("code", NOT_WAITING.values(), ids=NOT_WAITING)
def test_a_program_that_does_not_wait_has_no_interest(code: str, listener: socket.socket) -> None:
    wanted = {inode(listener)}
    with child("print(flush=True)\n" + code, listener) as process:
        assert process.stdout
        process.stdout.readline()
        wait.until(lambda: is_blocked(process.pid), "the program to block")
        assert process_interest(process.pid, wanted) == set()


def is_blocked(pid: int) -> bool:
    with open(f"/proc/{pid}/syscall") as file:
        return file.read().split()[0] not in ("running", "-1")


def test_a_datagram_listener_is_waited_on_in_recv() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with child("listener.recvfrom(99)", sock) as process:
            wait.until(lambda: process_interest(process.pid, {inode(sock)}), "the program to wait")


def test_a_process_that_is_gone_has_no_interest(listener: socket.socket) -> None:
    with child("", listener) as process:
        process.wait()
        assert process_interest(process.pid, {inode(listener)}) == set()


@pytest.mark.parametrize("flags", ["0", "select.EPOLLET", "(1 << 28)"])
def test_the_gate_closes_and_opens(flags: str, listener: socket.socket) -> None:
    """Level-triggered, edge-triggered, EPOLLEXCLUSIVE: the entry comes back as it was."""
    key = inode(listener)
    ours = {key: listener.fileno()}
    with child(EPOLL.replace("FLAGS", flags), listener) as process:
        before = wait.until(lambda: gate.entries([process.pid], {key}) or None, "the entry")
        assert served(listener)
        gate.close(before, ours)
        assert gate.entries([process.pid], {key}) == []
        with connect(listener) as waiting:
            assert not wait.readable(waiting.fileno(), timeout=0.1), "nobody accepts it"
            gate.close(before, ours)  # again: does nothing
            gate.open(before, ours)
            assert wait.readable(waiting.fileno()), "it was accepted from the queue"
        assert gate.entries([process.pid], {key}) == before
        gate.open(before, ours)  # again: does nothing
        assert served(listener)


def test_the_gate_of_a_process_that_ends_meanwhile(listener: socket.socket) -> None:
    key = inode(listener)
    with child(EPOLL.replace("FLAGS", "0"), listener) as process:
        before = wait.until(lambda: gate.entries([process.pid], {key}) or None, "the entry")
        process.kill()
        process.wait()
        gate.close(before, {key: listener.fileno()})


def connect(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname(), timeout=wait.TIMEOUT)


def served(listener: socket.socket) -> bool:
    with connect(listener) as client:
        return bool(wait.readable(client.fileno()))
