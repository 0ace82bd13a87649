"""A rotation is answered when every part is done; callers meanwhile share the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockact.supervisor.logs.rotation import ReopenFailure, Rotation, RotationResult

if TYPE_CHECKING:
    from collections.abc import Callable


class Program:
    """A program whose rotation is done when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Callable[[RotationResult], None]] = []

    def reopen(self, done: Callable[[RotationResult], None]) -> None:
        self.asked.append(done)


class Part:
    """A part whose rotation is done when the test says so."""

    files = 2

    def __init__(self) -> None:
        self.asked: list[Callable[[str], None]] = []

    def reopen(self, done: Callable[[str], None]) -> None:
        self.asked.append(done)


class AtOnce:
    """A program whose rotation fails before the call returns."""

    files = 1

    def reopen(self, done: Callable[[str], None]) -> None:
        done("the disk is full")


def test_the_answer_comes_when_all_are_done() -> None:
    program, part = Program(), Part()
    rotation = Rotation(program, (part, AtOnce()))
    heard: list[RotationResult] = []
    rotation.ask(heard.append)
    program.asked[0](RotationResult(2, 3, 1, (ReopenFailure(7, "no"),)))
    assert (heard, rotation.busy()) == ([], True)
    part.asked[0]("")
    assert heard == [
        RotationResult(2, 5, 1, (ReopenFailure(0, "the disk is full"), ReopenFailure(7, "no")))
    ]
    assert not rotation.busy()
    assert heard[0].to_json()["errors"] == [
        {"pid": None, "error": "the disk is full"},
        {"pid": 7, "error": "no"},
    ]
    assert heard[0].describe() == (
        "files reopened: 5, processes told: 2, signalled: 1; the disk is full; process 7: no"
    )


def test_requests_during_a_rotation_share_the_next() -> None:
    program = Program()
    rotation = Rotation(program)
    heard: list[tuple[str, RotationResult]] = []
    rotation.ask(lambda done: heard.append(("first", done)))
    for name in ("second", "third"):
        rotation.ask(lambda done, name=name: heard.append((name, done)))  # type: ignore[misc]
    assert len(program.asked) == 1
    program.asked[0](RotationResult(1))
    assert heard == [("first", RotationResult(1))]
    assert len(program.asked) == 2
    program.asked[1](RotationResult(2))
    assert heard[1:] == [("second", RotationResult(2)), ("third", RotationResult(2))]
    assert len(program.asked) == 2


def test_a_storm_of_signals_is_one_more() -> None:
    program = Program()
    rotation = Rotation(program)
    heard: list[RotationResult] = []
    for _ in range(100):
        rotation.ask(heard.append)
    for done in program.asked:
        done(RotationResult())
    assert len(heard) == 2


def test_a_caller_that_left_is_not_answered() -> None:
    program = Program()
    rotation = Rotation(program)
    heard: list[RotationResult] = []
    rotation.ask(heard.append)()
    leave = rotation.ask(lambda done: heard.append(done))
    program.asked[0](RotationResult())
    leave()
    program.asked[1](RotationResult())
    assert (heard, rotation.busy()) == ([], False)


def test_asking_in_the_answer() -> None:
    program = Program()
    rotation = Rotation(program)
    heard: list[RotationResult] = []

    def again(_: RotationResult) -> None:
        rotation.ask(heard.append)

    rotation.ask(again)
    program.asked[0](RotationResult())
    assert len(program.asked) == 2
    program.asked[1](RotationResult(1))
    assert heard == [RotationResult(1)]
