"""kill -9 of either process at each step of a delivery: the program goes on, and a connection is
either delivered or still ours.
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.handover.delivery.delivery import Delivery
from sockact.handover.delivery.wake import Wake
from sockact.handover.interest import process_interest
from sockact.kernel import seccomp
from sockact.kernel.tracing import memory, registers
from sockact.kernel.tracing.tracer import Tracer
from tests.process.delivery.programs import ACCEPT, LEVEL, POLL, SELECT
from tests.support import wait
from tests.support.child import inode
from tests.support.delivered import Connections, greeted, parcels

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    from tests.process.delivery.conftest import Launch
    from tests.support.delivered import Delivered

    P = ParamSpec("P")
    R = TypeVar("R")

STEPS = [
    *((Tracer, name) for name in ("seize", "interrupt", "resume", "wait")),
    *((registers, name) for name in ("interrupted", "become", "again", "finish")),
    *((Wake, name) for name in ("begin", "again", "end")),
    *((memory, name) for name in ("read", "write")),
]


class Killing:
    """Kills its process after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def step(*arguments: P.args, **named: P.kwargs) -> R:
            found = function(*arguments, **named)
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return step


@pytest.mark.parametrize("code", [ACCEPT, LEVEL, POLL, SELECT])
def test_its_tracer_is_killed(
    code: str,
    launch: Launch,
    made: Connections,
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = launch(code, blocking=code is ACCEPT)
    for steps in itertools.count(1):
        # It may not be back yet from the client before.
        wait.until(lambda: bool(process_interest(program.pid, {inode(listener)})), "interest")
        clients = made.make(1)
        with monkeypatch.context() as patch:
            kills = Killing(steps)
            for where, name in STEPS:
                patch.setattr(where, name, kills(getattr(where, name)))
            why = program.deliver(made.accepted)
        if not why:
            assert greeted(clients) == [program.pid]
        with (
            program.answered(),
            socket.create_connection(listener.getsockname(), wait.TIMEOUT) as client,
        ):
            assert greeted([client]) == [program.pid]
        if not why and steps > len(STEPS):
            break
        assert why in ("", "the process that traces it was killed")


@pytest.mark.parametrize("code", [ACCEPT, LEVEL, POLL, SELECT])
@pytest.mark.parametrize("received", [False, True], ids=["before", "after it has received"])
def test_the_supervisor_is_killed(
    code: str, received: bool, launch: Launch, made: Connections, listener: socket.socket
) -> None:
    """Its descriptor of the notifications is closed, and the accept fails with ENOSYS."""
    program = launch(code, blocking=code is ACCEPT)
    made.make(1)
    delivery = begin(program, made)
    assert wait.readable(program.notifications)
    if received:
        assert seccomp.receive(program.notifications)
    program.stop_answering()
    assert wait.readable(delivery.fileno())
    assert delivery.end() == "the connection was not given"
    os.waitpid(delivery.pid, 0)
    with socket.create_connection(listener.getsockname(), wait.TIMEOUT) as client:
        assert greeted([client]) == [program.pid]


def begin(program: Delivered, made: Connections) -> Delivery:
    found = parcels(made.accepted)
    return Delivery(program.pid, inode(program.listener), found, wait.TIMEOUT)


def test_a_program_that_is_killed(launch: Launch, made: Connections) -> None:
    program = launch(LEVEL)
    made.make(1)
    delivery = begin(program, made)
    assert wait.readable(program.notifications)
    os.kill(program.pid, signal.SIGKILL)
    assert wait.readable(delivery.fileno())
    assert delivery.end() == f"process {program.pid} did not accept in time"
    os.waitpid(delivery.pid, 0)


def test_a_late_accept_is_refused(
    launch: Launch, made: Connections, listener: socket.socket
) -> None:
    """Its tracer was killed, and the delivery has ended."""
    program = launch(LEVEL)
    clients = made.make(1)
    delivery = begin(program, made)
    assert wait.readable(program.notifications)
    os.kill(delivery.pid, signal.SIGKILL)
    assert wait.readable(delivery.fileno())
    assert delivery.end() == "the process that traces it was killed"
    os.waitpid(delivery.pid, 0)
    with (
        program.answered(),
        socket.create_connection(listener.getsockname(), wait.TIMEOUT) as client,
    ):
        assert greeted([client]) == [program.pid]
    made.accepted[0].sendall(b"0")
    assert greeted(clients) == [0]


def test_a_refusal_is_not_noticed(
    launch: Launch, made: Connections, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program has no descriptor left, say: its accept is made again."""
    program = launch(ACCEPT, blocking=True)
    clients = made.make(1)

    def fails(*_: object, **__: object) -> int:
        raise OSError

    monkeypatch.setattr(seccomp, "add_fd", fails)
    assert program.deliver(made.accepted) == "the connection was not given"
    assert not made.accepted[0].getblocking()
    with socket.create_connection(listener.getsockname(), wait.TIMEOUT) as client:
        assert greeted([client]) == [program.pid]
    made.accepted[0].sendall(b"0")
    assert greeted(clients) == [0]
