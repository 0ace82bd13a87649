"""Tracing a thread of a real process for a moment, and the end of the tracer at each step."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from sockact.kernel import procfs, waits
from sockact.kernel.seccomp import NUMBERS
from sockact.kernel.seccomp import Call as Notified
from sockact.kernel.tracing import registers
from sockact.kernel.tracing.tracer import At, Tracer
from tests.support import wait
from tests.support.child import child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Steps = Callable[[int], Iterator[object]]

# Whoever accepts has to bear that accept fails: a bind() of a bound socket does.
ACCEPTS = """
def term(*_):
    os.write(1, b"term")
import signal; signal.signal(signal.SIGTERM, term)
while True:
    try:
        accepted, _ = listener.accept()
    except OSError:
        os.write(1, b"failed")
        continue
    accepted.sendall(b"here")
    accepted.close()
"""
POLLS = """
poll = select.poll()
poll.register(listener, select.POLLIN)
listener.setblocking(False)
while True:
    if poll.poll():
        try:
            accepted, _ = listener.accept()
        except BlockingIOError:
            os.write(1, b"nobody")
            continue
        accepted.sendall(b"here")
        accepted.close()
"""
BIND = NUMBERS[Notified.BIND]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def serves(listener: socket.socket) -> bool:
    with socket.create_connection(listener.getsockname(), wait.TIMEOUT) as client:
        return client.recv(10) == b"here"


def waits_in(pid: int, *names: str) -> bool:
    return any(call.name in names for call in waits.blocked_calls(pid))


def next_stop(tracer: Tracer, at: At) -> registers.Call | None:
    stop = tracer.wait(time.monotonic() + wait.TIMEOUT)
    assert stop is not None
    assert stop.at is at
    return stop.call


def becomes_a_bind(pid: int) -> Iterator[object]:
    tracer = Tracer()
    tracer.seize(pid)
    yield "seized"
    tracer.interrupt(pid)
    yield "interrupted"
    next_stop(tracer, At.INTERRUPTED)
    yield "stopped"
    tracer.resume(pid)
    yield "resumed"
    call = next_stop(tracer, At.ENTRY)
    assert call is not None
    yield "enters"
    registers.become(pid, BIND)
    yield "another call"
    tracer.resume(pid)
    next_stop(tracer, At.EXIT)
    yield "leaves"
    registers.again(pid, call)
    yield "its own call again"
    tracer.let_go(pid)
    yield "let go"


def finds_a_listener(pid: int) -> Iterator[object]:
    tracer = Tracer()
    tracer.seize(pid)
    tracer.interrupt(pid)
    next_stop(tracer, At.INTERRUPTED)
    yield "stopped"
    call = registers.interrupted(pid)
    assert call is not None
    registers.finish(pid, call, 1)
    yield "finished"
    tracer.resume(pid)
    yield "resumed"


@contextlib.contextmanager
def tracing(steps: Steps, pid: int) -> Iterator[Callable[[], bytes]]:
    """A process that takes a step at each call of the result, which returns b"" after the last.
    It is killed at the end.
    """
    go_read, go = os.pipe()
    done, done_write = os.pipe()
    tracer = os.fork()
    if tracer == 0:
        with contextlib.suppress(BaseException):
            os.read(go_read, 1)
            for _ in steps(pid):
                os.write(done_write, b"+")
                os.read(go_read, 1)
        os._exit(0)
    os.close(done_write)
    os.close(go_read)

    def step() -> bytes:
        os.write(go, b"+")
        assert wait.readable(done)
        return os.read(done, 1)

    try:
        yield step
    finally:
        os.kill(tracer, signal.SIGKILL)
        os.waitpid(tracer, 0)
        os.close(go)
        os.close(done)


@pytest.mark.parametrize("steps", range(1, 10))
def test_a_program_goes_on_when_its_tracer_is_killed(steps: int, listener: socket.socket) -> None:
    with child(ACCEPTS, listener) as process:
        wait.until(lambda: waits_in(process.pid, "accept", "accept4"), "accept")
        with tracing(becomes_a_bind, process.pid) as step:
            for _ in range(steps):
                assert step()
        assert serves(listener)
        assert not is_traced(process.pid)


@pytest.mark.parametrize("steps", range(1, 4))
def test_a_poll_goes_on_when_its_tracer_is_killed(steps: int, listener: socket.socket) -> None:
    with child(POLLS, listener) as process:
        wait.until(lambda: waits_in(process.pid, "poll"), "poll")
        with tracing(finds_a_listener, process.pid) as step:
            for _ in range(steps):
                assert step()
        assert serves(listener)
        assert not is_traced(process.pid)


def is_traced(pid: int) -> bool:
    lines = procfs.read(f"/proc/{pid}/status").splitlines()
    return not any(line.split() == [b"TracerPid:", b"0"] for line in lines)


def test_nobody_sees_a_call_that_was_made_again(listener: socket.socket) -> None:
    with child(ACCEPTS, listener) as process:
        wait.until(lambda: waits_in(process.pid, "accept", "accept4"), "accept")
        with tracing(becomes_a_bind, process.pid) as step:
            while step():
                pass
            assert serves(listener)
        process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == b""


def test_a_poll_returns_what_it_is_told(listener: socket.socket) -> None:
    with child(POLLS, listener) as process:
        wait.until(lambda: waits_in(process.pid, "poll"), "poll")
        with tracing(finds_a_listener, process.pid) as step:
            while step():
                pass
        assert process.stdout is not None
        assert process.stdout.read(6) == b"nobody"


def test_a_signal_to_a_traced_program_arrives(listener: socket.socket) -> None:
    def traces(pid: int) -> Iterator[object]:
        tracer = Tracer()
        tracer.seize(pid)
        os.kill(pid, signal.SIGTERM)
        # The next stop is for a call of the handler.
        next_stop(tracer, At.ENTRY)
        yield "in the handler"

    with child(ACCEPTS, listener) as process:
        wait.until(lambda: waits_in(process.pid, "accept", "accept4"), "accept")
        with tracing(traces, process.pid) as step:
            assert step()
        assert process.stdout is not None
        assert process.stdout.read(4) == b"term"


def test_a_program_that_is_stopped_remains_so(listener: socket.socket) -> None:
    def traces(pid: int) -> Iterator[object]:
        tracer = Tracer()
        tracer.seize(pid)
        yield "seized"
        tracer.wait(time.monotonic() + wait.TIMEOUT)
        assert not tracer.threads
        yield "no longer traced"

    with child(ACCEPTS, listener) as process:
        wait.until(lambda: waits_in(process.pid, "accept", "accept4"), "accept")
        with tracing(traces, process.pid) as step:
            step()
            process.send_signal(signal.SIGSTOP)
            assert step()
            wait.until(lambda: [x.state for x in waits.threads(process.pid)] == ["T"], "a stop")
        process.send_signal(signal.SIGCONT)
        assert serves(listener)


def test_a_second_tracer_is_refused(listener: socket.socket) -> None:
    def traces(pid: int) -> Iterator[object]:
        Tracer().seize(pid)
        yield "seized"

    def is_refused(pid: int) -> Iterator[object]:
        with pytest.raises(PermissionError):
            Tracer().seize(pid)
        yield "refused"

    with child(ACCEPTS, listener) as process, tracing(traces, process.pid) as step:
        assert step()
        with tracing(is_refused, process.pid) as other:
            assert other()


def test_a_thread_that_has_ended_is_not_traced(listener: socket.socket) -> None:
    def traces(pid: int) -> Iterator[object]:
        tracer = Tracer()
        tracer.seize(pid)
        os.kill(pid, signal.SIGKILL)
        assert tracer.wait(time.monotonic() + wait.TIMEOUT) is None
        assert not tracer.threads
        yield "ended"

    with child(ACCEPTS, listener) as process, tracing(traces, process.pid) as step:
        assert step()
