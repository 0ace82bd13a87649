"""The gate inside a process that waits in epoll: entries are moved to the decoy and back."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from sockact.kernel import epoll as kernel_epoll
from sockact.shim.sockact_shim import epoll
from tests.process.adoption.test_shim_wire import Program, Run, Supervisor, run, supervisor
from tests.process.gates.gated import (
    ASYNCIO,
    PAUSES,
    PREAMBLE,
    Listener,
    listener,
    share,
    start,
    waits_in_accept,
)
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["listener", "run", "supervisor"]  # fixtures

WATCH = (
    PREAMBLE
    + """
import ctypes, struct
listener.setblocking(False)
C = ctypes.CDLL(None)
def watch(events, data):
    instance = select.epoll()
    layout = "=IQ" if os.uname().machine == "x86_64" else "@IQ"
    event = struct.pack(layout, events, data)
    assert not C.epoll_ctl(instance.fileno(), 1, listener.fileno(), event)
    return instance
def wait_in(instance):
    while True:
        buffer = ctypes.create_string_buffer(64)
        C.epoll_wait(instance.fileno(), buffer, 1, -1)
        try:
            while True: serve(listener.accept()[0])
        except BlockingIOError: pass
"""
)
TWO_INSTANCES = """
threading.Thread(target=wait_in, args=(watch(1 | 1 << 28, 2**40),)).start()
wait_in(watch(1 | 1 << 28, 2**50))
"""


def close_all(listener: Listener) -> str:
    return f"gate closed all {listener.inode}"


def entries(pid: int) -> list[tuple[int, int, int, int]]:
    """(number, events, data, inode) of each entry of a process's epoll instances."""
    found = [entry for watched in kernel_epoll.of_process(pid).values() for entry in watched]
    return sorted((entry.fd, entry.events, entry.data, entry.inode) for entry in found)


def watches(pid: int, listener: Listener, number: int = 1) -> Callable[[], bool]:
    """Whether the process has so many entries for the listener."""
    return lambda: sum(entry[3] == listener.inode for entry in entries(pid)) == number


@pytest.mark.parametrize(
    ("source", "number"),
    [
        (WATCH + "wait_in(watch(1, listener.fileno()))", 1),
        (WATCH + "wait_in(watch(1 | 1 << 31, 2**63 + 7))", 1),
        (WATCH + "wait_in(watch(1 | 1 << 28, 2**40))", 1),
        (WATCH + TWO_INSTANCES, 2),
        (ASYNCIO, 1),
    ],
    ids=["level", "edge", "exclusive", "two-instances", "asyncio"],
)
def test_closes_and_opens(
    run: Run, supervisor: Supervisor, listener: Listener, source: str, number: int
) -> None:
    program = start(run, listener, source)
    wait.until(watches(program.pid, listener, number), "it to watch its listener")
    before = entries(program.pid)
    numbers = {entry[0] for entry in before}
    for _ in range(2):
        assert listener.ask()
        for _ in range(2):
            assert supervisor.order(program.pid, close_all(listener)) == ["done gate 1"]
        # What it watches now has another inode, and all else is as it was.
        assert watches(program.pid, listener, 0)()
        now = [entry for entry in entries(program.pid) if entry[0] in numbers]
        assert [entry[:3] for entry in now] == [entry[:3] for entry in before]
        listener.nobody_accepts()
        waiting = listener.connect()
        assert supervisor.order(program.pid, listener.open_order) == ["done gate 0"]
        # And perhaps the connection, already.
        assert set(before) <= set(entries(program.pid))
        # The connection that waited meanwhile is served, also with an edge-triggered entry.
        waiting.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert waiting.recv(4096)


def test_a_thread_told_of_a_client_that_the_successor_accepted(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    """A thread that is blocked in accept on the decoy is woken when the gate opens."""
    program = share(run, listener)
    program.do("import select, threading")
    program.do("instance = select.epoll(); instance.register(listener, 1)")
    # One that the shim itself makes, and then a client.
    program.do("def take(): [listener.accept()[0].close() for _ in range(2)]")
    assert supervisor.order(program.pid, close_all(listener)) == ["done gate 1"]
    program.do("thread = threading.Thread(target=take, daemon=True); thread.start()")
    tid = program.do("result = thread.native_id")
    wait.until(lambda: waits_in_accept(program.pid, tid), "the thread to accept")
    assert supervisor.order(program.pid, listener.open_order) == ["done gate 0"]
    assert listener.connect().recv(1) == b""


def watching(run: Run, supervisor: Supervisor, listener: Listener) -> Program:
    """An obedient program that watches the listener in `instance`."""
    program = share(run, listener)
    program.do("import select; listener.setblocking(False); instance = select.epoll()")
    program.do("instance.register(listener, select.EPOLLIN)")
    program.do("ready = lambda: [fd for fd, _ in instance.poll(0)] == [listener.fileno()]")
    return program


def test_an_entry_that_the_program_removed_stays_removed(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = watching(run, supervisor, listener)
    supervisor.order(program.pid, close_all(listener))
    assert program.do("result = attempt(instance.unregister, listener)") is None
    supervisor.order(program.pid, listener.open_order)
    assert entries(program.pid) == []


def test_an_entry_that_the_program_changed_stays_changed(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = watching(run, supervisor, listener)
    supervisor.order(program.pid, close_all(listener))
    assert program.do("result = attempt(instance.modify, listener, 5)") is None
    supervisor.order(program.pid, listener.open_order)
    assert [entry[1] & 5 for entry in entries(program.pid)] == [5]
    assert watches(program.pid, listener)()


@pytest.mark.parametrize(
    "replace", ["listener.close()", "null = os.open('/dev/null', 0); os.dup2(null, fd)"]
)
def test_a_fd_that_the_program_closed_or_replaced_stays_so(
    run: Run, supervisor: Supervisor, listener: Listener, replace: str
) -> None:
    program = watching(run, supervisor, listener)
    supervisor.order(program.pid, close_all(listener))
    program.do("fd = listener.fileno()")
    program.do(replace)
    assert supervisor.order(program.pid, listener.open_order) == ["done gate 0"]
    assert entries(program.pid) == []
    listener.connect()
    assert program.do("result = instance.poll(0)") == []


def test_an_instance_that_the_program_closed(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = watching(run, supervisor, listener)
    supervisor.order(program.pid, close_all(listener))
    program.do("number = instance.fileno(); instance.close(); other = select.epoll()")
    assert program.do("result = other.fileno() == number")
    supervisor.order(program.pid, listener.open_order)
    assert entries(program.pid) == []


def test_a_server_that_resumes_accepting(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    """It was closed while it accepted, paused and resumed: the entry is the program's own."""
    program = start(run, listener, PAUSES)
    assert listener.ask()
    assert supervisor.order(program.pid, close_all(listener)) == ["done gate 1"]
    for number, word in ((signal.SIGUSR1, "pauses"), (signal.SIGUSR2, "resumes")):
        program.process.send_signal(number)
        assert program.line() == word
    listener.nobody_accepts()
    assert supervisor.order(program.pid, listener.open_order) == ["done gate 0"]
    assert listener.ask()


FORK = "child = os.fork(); result = child or exec('while True: signal.pause()')"


@pytest.mark.parametrize("first", ["parent", "child"])
def test_a_child_that_was_forked_while_closed(
    run: Run, supervisor: Supervisor, listener: Listener, first: str
) -> None:
    """It shares its parent's instance, whoever opens first."""
    program = watching(run, supervisor, listener)
    before = entries(program.pid)
    supervisor.order(program.pid, close_all(listener))
    child = program.do(FORK)
    pids = [program.pid, child] if first == "parent" else [child, program.pid]
    for pid in pids:
        assert supervisor.order(pid, listener.open_order) == ["done gate 0"]
    assert entries(program.pid) == entries(child) == before
    listener.connect()
    assert program.do("result = ready()")


def test_a_child_that_ends_while_closed(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    """Its parent was told first, so the instance that they share is the parent's."""
    program = watching(run, supervisor, listener)
    before = entries(program.pid)
    child = program.do(FORK)
    assert supervisor.order(program.pid, close_all(listener)) == ["done gate 1"]
    assert supervisor.order(child, close_all(listener)) == ["done gate 1"]
    os.kill(child, signal.SIGKILL)
    program.do("os.waitpid(child, 0)")
    assert supervisor.order(program.pid, listener.open_order) == ["done gate 0"]
    assert entries(program.pid) == before
    listener.connect()
    assert program.do("result = ready()")


def test_an_instance_that_is_closed_meanwhile() -> None:
    """Listed, and closed by another thread before it is read: a server that makes a selector for
    each of its requests does that all the time.
    """
    instance = os.open("/dev/null", os.O_RDONLY)
    os.close(instance)
    assert epoll.watched([instance], 1) == set()
    assert epoll.entries([instance], 1, [3]) == []
