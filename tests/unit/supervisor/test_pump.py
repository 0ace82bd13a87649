"""The pump: everything arrives, the tail is kept, and a blocked reader blocks nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.base import report
from sockact.supervisor.base.nonblocking import CHUNK, write_now
from sockact.supervisor.base.output_relay import TAIL_LINES, OutputRelay, joined
from sockact.supervisor.base.report import ERROR, Reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.supervisor.base.loop import Loop


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Our own stderr: (its reader, itself)."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def program_end(pump: OutputRelay) -> int:
    """The program's own copy of its stderr."""
    assert pump.write_end is not None
    fd = os.dup(pump.write_end)
    pump.launched()
    return fd


def test_everything_is_passed_on_and_the_tail_kept(loop: Loop, pipe: tuple[int, int]) -> None:
    pump = OutputRelay(loop, pipe[1])
    program = program_end(pump)
    lines = [f"line {number}" for number in range(TAIL_LINES + 5)]
    os.write(program, "\n".join(lines).encode())
    assert pump.tail() == lines[5:]
    assert pump.lines == len(lines) - 1
    os.close(program)
    pump.close()
    assert os.read(pipe[0], 1 << 16).decode().split("\n") == lines


def test_the_end_of_the_program_ends_the_pump(loop: Loop, pipe: tuple[int, int]) -> None:
    pump = OutputRelay(loop, pipe[1])
    program = program_end(pump)
    os.write(program, b"last words\n")
    os.close(program)
    pump.close()
    pump.close()
    assert pump.tail() == ["last words"]
    assert os.read(pipe[0], 99) == b"last words\n"


def test_lines_arrive_by_the_loop(loop: Loop, pipe: tuple[int, int]) -> None:
    pump = OutputRelay(loop, pipe[1])
    program = program_end(pump)
    os.write(program, b"one\n")
    loop.watch(pipe[0], 1, lambda _mask: loop.stop())
    loop.run()
    assert os.read(pipe[0], 99) == b"one\n"
    os.write(program, b"two\n")
    loop.run()
    assert os.read(pipe[0], 99) == b"two\n"
    loop.unwatch(pipe[0])
    os.close(program)
    pump.close()


def test_half_a_line_waits_while_more_comes(loop: Loop, pipe: tuple[int, int]) -> None:
    pump = OutputRelay(loop, pipe[1])
    program = program_end(pump)
    loop.watch(pipe[0], 1, lambda _mask: loop.stop())
    os.write(program, b"one\nha")
    loop.run()
    assert os.read(pipe[0], 99) == b"one\n"
    os.write(program, b"lf\nprompt: ")
    loop.run()
    assert os.read(pipe[0], 99) == b"half\n"
    loop.run()
    assert os.read(pipe[0], 99) == b"prompt: "
    os.write(program, b"x" * 70_000)
    loop.run()
    assert os.read(pipe[0], 99) == b"x" * 99
    loop.unwatch(pipe[0])
    os.close(program)
    pump.close()


def fill(fd: int) -> int:
    """Write until the pipe is full; how much it took."""
    os.set_blocking(fd, False)
    taken = 0
    try:
        while True:
            taken += os.write(fd, bytes(4096))
    except BlockingIOError:
        os.set_blocking(fd, True)
    return taken


def test_a_reader_that_does_not_read_blocks_nobody(loop: Loop, pipe: tuple[int, int]) -> None:
    fill(pipe[1])
    pump = OutputRelay(loop, pipe[1])
    program = program_end(pump)
    os.write(program, b"kept\n")
    assert pump.tail() == ["kept"]
    os.read(pipe[0], 1 << 20)
    assert pump.tail() == ["kept"]
    assert os.read(pipe[0], 99) == b"kept\n"
    os.close(program)
    pump.close()


def test_write_now_writes_what_fits(pipe: tuple[int, int]) -> None:
    taken = write_now(pipe[1], bytes(1 << 20))
    assert 0 < taken < 1 << 20
    assert write_now(pipe[1], b"more") == 0


def test_lines_are_not_torn(pipe: tuple[int, int]) -> None:
    fill(pipe[1])
    os.read(pipe[0], CHUNK)
    line = b"x" * 99 + b"\n"
    assert write_now(pipe[1], line * 99) == CHUNK // len(line) * len(line)
    os.read(pipe[0], 1 << 20)
    assert write_now(pipe[1], b"x" * (CHUNK + 1)) == CHUNK + 1


@pytest.mark.parametrize(
    ("tails", "expected"),
    [
        ([], []),
        ([["a"], ["b"]], ["a", "b"]),
        ([["a"] * 300, []], ["a"] * TAIL_LINES),
        ([["a"] * 300, ["b"]], ["a"] * (TAIL_LINES // 2) + ["b"]),
    ],
)
def test_last_lines_of_two_outputs(tails: list[list[str]], expected: list[str]) -> None:
    assert joined(tails) == expected


def test_write_now_to_nobody_loses_it() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert write_now(writer, b"lost") == 4
    os.close(writer)


def test_lost_messages_are_counted(pipe: tuple[int, int]) -> None:
    reporter = Reporter("web", pipe[1])
    taken = fill(pipe[1])
    reporter.say("lost")
    reporter.say("lost too")
    os.read(pipe[0], taken)
    reporter.say("heard\nin one line", ERROR)
    line = os.read(pipe[0], 999).decode()
    assert line == "sockact: web: heard in one line (2 earlier messages were lost)\n"


def test_the_journal_gets_levels(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.fstat(pipe[1])
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    # That of this machine, if it has one, would take the line with its fields.
    monkeypatch.setattr(report, "_journal", lambda: None)
    Reporter("web", pipe[1]).say("broken", ERROR)
    assert os.read(pipe[0], 99) == b"<3>broken\n"
