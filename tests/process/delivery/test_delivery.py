"""Connections are delivered into small programs that wait in each way."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.handover.interest import process_interest
from sockact.kernel import procfs
from sockact.kernel.tracing.tracer import Tracer
from tests.process.delivery.programs import BLOCKING, FILTERED, LEVEL, LOOPS
from tests.support import wait
from tests.support.child import inode
from tests.support.delivered import Connections, greeted

if TYPE_CHECKING:
    from tests.process.delivery.conftest import Launch


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("way", [*BLOCKING, *LOOPS])
def test_accept_returns_it(
    way: str, count: int, launch: Launch, made: Connections, listener: socket.socket
) -> None:
    blocking = way in ("accept", "threads")
    program = launch((BLOCKING | LOOPS)[way], blocking=blocking)
    clients = made.make(count)
    assert program.deliver(made.accepted) == ""
    assert greeted(clients) == [program.pid] * count
    # Everybody else is accepted as before.
    with socket.create_connection(listener.getsockname(), wait.TIMEOUT) as client:
        assert greeted([client]) == [program.pid]


@pytest.mark.parametrize(("listener", "host"), [("::1", "::1"), ("", "")], indirect=["listener"])
def test_addresses_of_other_families(listener: socket.socket, host: str, launch: Launch) -> None:
    """The program asserts that accept and getpeername return the same."""
    program = launch(LEVEL)
    with Connections(host) as made:
        clients = made.make(1)
        assert program.deliver(made.accepted) == ""
        assert greeted(clients) == [program.pid]


def test_a_worker(launch: Launch, made: Connections, listener: socket.socket) -> None:
    """Each worker has an instance of its own, and only one is asked."""
    program = launch("if os.fork() and os.fork(): os.wait()\nrun(once())", waits=False)

    def workers() -> list[int]:
        return [x for x in procfs.children(program.pid) if process_interest(x, {inode(listener)})]

    wait.until(lambda: len(workers()) == 2, "two workers")
    for worker in workers():
        clients = made.make(1)
        assert program.deliver(made.accepted, worker) == ""
        assert greeted(clients) == [worker]


def test_a_process_that_does_not_accept(launch: Launch, made: Connections) -> None:
    """It is told, and does something else."""
    program = launch("once().poll(); signal.pause()")
    clients = made.make(1)
    why = program.deliver(made.accepted, within=0.2)
    assert why == f"process {program.pid} did not accept in time"
    made.accepted[0].sendall(b"0 ")
    assert greeted(clients) == [0]


def test_a_process_that_does_not_wait(launch: Launch, made: Connections) -> None:
    program = launch("loop = once(); signal.pause()")
    made.make(1)
    why = f"process {program.pid} does not wait for connections now"
    assert program.deliver(made.accepted) == why


def test_a_process_without_the_listener(launch: Launch, made: Connections) -> None:
    program = launch(LEVEL)
    made.make(1)
    why = f"process {os.getpid()} "
    assert program.deliver(made.accepted, os.getpid()).startswith(why)


def test_a_stopped_process(launch: Launch, made: Connections) -> None:
    program = launch(LEVEL)
    os.kill(program.pid, signal.SIGSTOP)
    os.waitpid(program.pid, os.WUNTRACED)
    made.make(1)
    assert program.deliver(made.accepted) == f"process {program.pid} is stopped"


def test_a_process_with_its_own_seccomp_filter(launch: Launch, made: Connections) -> None:
    """It may be killed for a call that it does not make by itself."""
    program = launch(f"sys.path.append({os.getcwd()!r})\n" + FILTERED)
    made.make(1)
    why = f"process {program.pid} has a seccomp filter of its own"
    assert program.deliver(made.accepted) == why


def test_a_traced_process(launch: Launch, made: Connections) -> None:
    program = launch(LEVEL)
    ready_read, ready = os.pipe()
    tracer = os.fork()
    if tracer == 0:
        Tracer().seize(program.pid)
        os.write(ready, b"+")
        signal.pause()
    try:
        assert wait.readable(ready_read)
        made.make(1)
        why = f"process {program.pid} is traced by process {tracer} (strace or a debugger)"
        assert program.deliver(made.accepted) == why
    finally:
        os.kill(tracer, signal.SIGKILL)
        os.waitpid(tracer, 0)
        os.close(ready_read)
        os.close(ready)
