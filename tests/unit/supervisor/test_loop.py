"""The loop: a stop is never forgotten, no signal either, and no exception ends it."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.base.loop import READ, WRITE, Loop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def handlers() -> Iterator[None]:
    """The dispositions of the signals that these tests catch, given back."""
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_stop_before_run(loop: Loop) -> None:
    """A first launch that fails stops the loop before it turns."""
    loop.at(time.monotonic() + 1, lambda: pytest.fail("it ran"))
    loop.stop()
    loop.run()


def test_runs_again_after_a_stop(loop: Loop) -> None:
    loop.stop()
    loop.run()
    ran: list[int] = []

    def callback() -> None:
        ran.append(1)
        loop.stop()

    loop.at(time.monotonic(), callback)
    loop.run()
    assert ran == [1]


@pytest.mark.usefixtures("handlers")
def test_flood_of_one_signal_hides_no_other(loop: Loop) -> None:
    caught: list[int] = []
    loop.catch((signal.SIGUSR1, signal.SIGTERM), caught.append)
    for _ in range(5000):
        os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGTERM)
    loop.at(time.monotonic() + 0.1, loop.stop)
    loop.run()
    assert set(caught) == {signal.SIGUSR1, signal.SIGTERM}


@pytest.mark.usefixtures("handlers")
def test_signals_come_in_their_order_and_again(loop: Loop) -> None:
    caught: list[int] = []
    loop.catch((signal.SIGUSR1, signal.SIGUSR2), caught.append)
    for numbers in ((signal.SIGUSR2, signal.SIGUSR1), (signal.SIGUSR1, signal.SIGUSR1)):
        for number in numbers:
            os.kill(os.getpid(), number)
        loop.at(time.monotonic() + 0.05, loop.stop)
        loop.run()
    assert caught == [signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR1]


def test_loop_goes_on_after_an_exception() -> None:
    """Of a timer or a descriptor; the descriptor is not watched for a moment, then again."""
    failed: list[Exception] = []
    loop = Loop(failed.append)
    calls: list[int] = []
    rounds: list[int] = []
    reader, writer = os.pipe()
    os.write(writer, b"x")

    def fail(_mask: int) -> None:
        calls.append(1)
        assert loop.watched(reader)
        if len(calls) == 3:
            loop.unwatch(reader)
            loop.stop()
        raise RuntimeError("of a descriptor")

    def count() -> None:
        rounds.append(1)
        if loop.watched(reader):
            loop.at(time.monotonic(), count)

    def fail_late() -> None:
        raise RuntimeError("of a timer")

    loop.watch(reader, READ, fail)
    loop.at(time.monotonic(), fail_late)
    loop.at(time.monotonic(), count)
    loop.run()
    assert [str(error) for error in failed] == ["of a timer", *["of a descriptor"] * 3] or [
        str(error) for error in failed
    ] == ["of a descriptor", "of a timer", *["of a descriptor"] * 2]
    assert len(calls) == 3
    assert len(rounds) > 3  # Others were called while it was not watched.
    assert not loop.watched(reader)
    loop.close()
    os.close(reader)
    os.close(writer)


def test_descriptor_during_the_pause() -> None:
    """It can be modified, watched by another callback, or no longer watched, as at any time."""
    failed: list[Exception] = []
    loop = Loop(failed.append)
    ends = [os.pipe() for _ in range(3)]
    heard: list[str] = []

    def fail(_mask: int) -> None:
        loop.stop()
        raise RuntimeError

    def hear(_mask: int) -> None:
        heard.append("other")
        loop.stop()

    for reader, writer in ends:
        os.write(writer, b"x")
        loop.watch(reader, READ, fail)
    loop.run()
    first, second, third = (reader for reader, _writer in ends)
    assert all(map(loop.watched, (first, second, third)))
    loop.modify(first, READ | WRITE)
    loop.unwatch(second)
    assert not loop.watched(second)
    loop.unwatch(third)
    loop.watch(third, READ, hear)
    loop.run()
    assert heard == ["other"]
    loop.close()
    for pair in ends:
        os.close(pair[0])
        os.close(pair[1])


@pytest.mark.usefixtures("handlers")
def test_signal_whose_callback_fails_hides_no_other() -> None:
    failed: list[Exception] = []
    loop = Loop(failed.append)
    caught: list[int] = []

    def hear(number: int) -> None:
        caught.append(number)
        if number == signal.SIGUSR1:
            raise RuntimeError
        loop.stop()

    loop.catch((signal.SIGUSR1, signal.SIGUSR2), hear)
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR2)
    loop.run()
    assert caught == [signal.SIGUSR1, signal.SIGUSR2]
    assert len(failed) == 1
    loop.close()


def test_cancelled_timers_are_not_kept() -> None:
    """Otherwise each reload would leave one with a deadline of hours."""
    loop = Loop()
    due: list[int] = []
    kept = [loop.at(time.monotonic() + 3600, lambda: None) for _ in range(10)]
    for _ in range(10_000):
        loop.at(time.monotonic() + 3600, lambda: None).cancel()
    assert len(vars(loop)["_timers"]) < 200
    assert all(timer.callback for timer in kept)
    for number in range(500):
        loop.at(time.monotonic(), partial(due.append, number))
    loop.at(time.monotonic(), loop.stop)
    loop.run()
    assert due == list(range(500))
    loop.close()
