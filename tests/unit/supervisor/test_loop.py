"""The loop: a stop is never forgotten, and no signal either."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.base.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


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
