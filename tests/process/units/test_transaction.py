"""Undo after a failed step, which nothing may interrupt."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from sockact.cli.setup.outcome import failure
from sockact.core.errors import OperatorError
from sockact.units.wrap import marked_files
from sockact.units.wrap.outage import Outage
from sockact.units.wrap.transaction import NotRestored, carry_out, interruptible

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt(number: int = signal.SIGINT) -> None:
    """Send this thread a signal; the handler runs before this returns. One that is sent to the
    process may be taken by another thread of pytest, and handled later.
    """
    signal.raise_signal(number)


class Told:
    """Records the order of calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, name: str, *signals: int) -> None:
        for number in signals:
            interrupt(number)
        self.calls.append(name)


@pytest.fixture(autouse=True)
def _handlers() -> object:
    found = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup(1) would have it ignored.
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before
    signal.signal(signal.SIGHUP, found)


def test_an_interrupt_of_the_way_back() -> None:
    """The undo itself was not started by a signal."""
    told = Told()

    def steps(undo: ExitStack) -> None:
        undo.callback(told, "first", *SIGNALS)
        undo.callback(told, "second", *SIGNALS)
        raise OperatorError("it failed")

    with pytest.raises(OperatorError, match=r"^it failed$"), interruptible():
        carry_out(steps)
    assert told.calls == ["second", "first"]


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_of_the_steps(number: int) -> None:
    told = Told()

    def steps(undo: ExitStack) -> None:
        undo.callback(told, "first", *SIGNALS)
        interrupt(number)
        told("more")

    with pytest.raises(OperatorError, match=r"^interrupted by SIG"), interruptible():
        carry_out(steps)
    assert told.calls == ["first"]


def test_completed_steps_stay_done() -> None:
    told = Told()

    def steps(undo: ExitStack) -> int:
        undo.callback(told, "first")
        return 7

    with interruptible():
        assert carry_out(steps) == 7
        for number in SIGNALS:
            interrupt(number)
    assert told.calls == []


def test_an_undo_that_fails() -> None:
    told = Told()

    def fail() -> None:
        raise OperatorError("that neither")

    def steps(undo: ExitStack) -> None:
        undo.callback(told, "first")
        undo.callback(fail)
        raise OperatorError("it failed")

    with pytest.raises(NotRestored) as caught, interruptible():
        carry_out(steps)
    assert told.calls == ["first"]
    said = failure(caught.value, "all changes were undone", Outage([])).message
    assert said == "it failed; not everything was undone: that neither"


def test_what_clients_met_is_told() -> None:
    outage = Outage([])
    assert failure(OperatorError("no"), "as it was", outage).message == "no; as it was"
    outage.cut_off, outage.seconds = 2, 0.256
    assert failure(OperatorError("no"), "as it was", outage).message == (
        "no; as it was; connections were refused for 0.26 s; 2 waiting connections were cut off"
    )


def test_an_ignored_signal_stays_ignored() -> None:
    """nohup(1)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            interrupt(signal.SIGHUP)
            assert carry_out(lambda _undo: 7) == 7
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_cannot_be_removed(folder: Path) -> None:
    (folder / "x").mkdir()
    with pytest.raises(OperatorError, match=r"cannot remove .*/x: Is a directory$"):
        marked_files.remove(str(folder / "x"))
    marked_files.remove(str(folder / "y"))
