"""Lines on their way into a log: each complete, once and in order, or counted as missing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from sockact.core.backlog import LONGEST, Backlog, Lines

PIECES = st.lists(st.integers(1, 40), min_size=1, max_size=60)
GAP = re.compile(rb"gap of (\d+) lines\n")


def chunks(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data in pieces of these sizes, over and over."""
    found, at, number = [], 0, 0
    while at < len(data):
        size = sizes[number % len(sizes)]
        found.append(data[at : at + size])
        at, number = at + size, number + 1
    return found


def numbered(source: int, lines: int) -> bytes:
    return b"".join(b"%d:%d\n" % (source, number) for number in range(lines))


@given(st.binary(max_size=300), PIECES)
def test_lines_are_whole_however_they_come(data: bytes, sizes: list[int]) -> None:
    lines = Lines()
    found = [lines.feed(chunk) for chunk in chunks(data, sizes)]
    assert all(one.endswith(b"\n") for one in found if one)
    written = b"".join(found) + lines.end()
    assert written == (data if data.endswith(b"\n") or not data else data + b"\n")
    assert lines.end() == b""


def test_a_line_too_long_goes_in_parts() -> None:
    lines = Lines()
    assert lines.feed(b"short\n" + b"x" * LONGEST) == b"short\n"
    assert lines.feed(b"y") == b"x" * LONGEST + b"y"
    assert lines.feed(b"z") == b""
    # It ends after a part: somebody else's line must not be glued to it.
    assert lines.end() == b"z\n"
    lines = Lines()
    assert lines.feed(b"x" * (LONGEST + 1)) == b"x" * (LONGEST + 1)
    assert lines.end() == b"\n"


@dataclass
class Disk:
    """A file that accepts as many bytes as the test says."""

    backlog: Backlog
    files: list[bytearray] = field(default_factory=lambda: [bytearray()])

    def write(self, size: int) -> None:
        """Take at most so many bytes of what waits; tell the gap when nothing does."""
        if not self.backlog.waiting and (gap := self.backlog.close_gap()):
            self.backlog.add(b"gap of %d lines\n" % gap.lines)
        taken = min(size, len(self.backlog.waiting))
        self.files[-1] += self.backlog.waiting[:taken]
        self.backlog.taken(taken)

    def write_all(self) -> None:
        for _ in ("what waits", "the gap"):
            self.write(1 << 20)

    def rotate(self) -> None:
        half = self.backlog.take_back()
        if half:
            del self.files[-1][-half:]
        self.files.append(bytearray())


# What happens next: a source writes so many lines, or the disk takes so many bytes, or a rotation.
STEPS = st.lists(
    st.tuples(st.just("put"), st.integers(0, 2), st.integers(1, 12))
    | st.tuples(st.just("write"), st.just(0), st.integers(0, 50))
    | st.tuples(st.just("rotate"), st.just(0), st.just(0)),
    max_size=60,
)


@given(STEPS, st.integers(10, 200), PIECES)
def test_each_line_is_there_once_or_counted(
    steps: list[tuple[str, int, int]], limit: int, sizes: list[int]
) -> None:
    disk = Disk(Backlog(limit))
    sources = {number: Lines() for number in range(3)}
    written = dict.fromkeys(sources, 0)
    piece = 0
    for what, source, amount in steps:
        if what == "write":
            disk.write(amount)
        elif what == "rotate":
            disk.rotate()
        else:
            first = written[source]
            written[source] += amount
            data = b"".join(b"%d:%d\n" % (source, first + n) for n in range(amount))
            for chunk in chunks(data, sizes[piece % len(sizes) :] or sizes):
                disk.backlog.put(source, sources[source].feed(chunk), 1.0)
            piece += 1
    disk.write_all()
    check(disk, written)


def check(disk: Disk, written: dict[int, int]) -> None:
    """Whole lines, each at most once and in order, and what is missing is counted in its place."""
    whole = b"".join(disk.files)
    assert all(not one or one.endswith(b"\n") for one in disk.files)
    gaps = [int(number) for number in GAP.findall(whole)]
    lines = [line.split(b":") for line in GAP.sub(b"", whole).splitlines()]
    there = {number: [int(n) for source, n in lines if int(source) == number] for number in written}
    for number, found in there.items():
        assert found == sorted(set(found))
        assert all(n < written[number] for n in found)
    missing = sum(written.values()) - sum(map(len, there.values()))
    assert missing == sum(gaps) == disk.backlog.dropped_lines


def test_nothing_is_accepted_until_all_that_waits_is_written() -> None:
    disk = Disk(Backlog(10))
    disk.backlog.put(1, b"12345\n12345\n", 1.0)
    disk.write(3)
    disk.backlog.put(2, b"a\n", 2.0)
    disk.write_all()
    disk.backlog.put(2, b"b\n", 3.0)
    disk.write_all()
    assert bytes(disk.files[0]) == b"12345\ngap of 2 lines\nb\n"
    assert (disk.backlog.dropped_lines, disk.backlog.dropped_size) == (2, 8)


def test_the_parts_of_a_line_are_not_glued_to_others() -> None:
    disk = Disk(Backlog(1000))
    disk.backlog.put(1, b"long", 1.0)
    disk.backlog.put(2, b"other\n", 1.0)
    disk.backlog.put(1, b"rest\n", 1.0)
    disk.write_all()
    assert bytes(disk.files[0]) == b"long\nother\nrest\n"


def test_a_line_whose_rest_was_dropped_counts_once() -> None:
    disk = Disk(Backlog(10))
    disk.backlog.put(1, b"begins", 1.0)
    disk.backlog.put(1, b"too long", 1.0)
    disk.backlog.put(1, b"still", 1.0)
    disk.backlog.put(1, b"end\nnext\n", 1.0)
    disk.write_all()
    disk.backlog.put(1, b"after\n", 1.0)
    disk.write_all()
    assert bytes(disk.files[0]) == b"begins\ngap of 2 lines\nafter\n"
    assert disk.backlog.dropped_lines == 2


def test_a_rest_that_comes_after_the_gap_was_told() -> None:
    disk = Disk(Backlog(10))
    disk.backlog.put(1, b"much too long", 1.0)
    disk.write_all()
    disk.backlog.put(1, b"end\nnext\n", 1.0)
    disk.write_all()
    assert bytes(disk.files[0]) == b"gap of 1 lines\nnext\n"


def test_half_of_a_long_line_stays_where_it_is() -> None:
    disk = Disk(Backlog(1 << 20))
    disk.backlog.put(1, b"x" * (LONGEST + 10), 1.0)
    disk.write(LONGEST + 5)
    disk.rotate()
    disk.backlog.put(1, b"\n", 1.0)
    disk.write_all()
    assert [len(one) for one in disk.files] == [LONGEST + 5, 6]


def test_what_is_given_up_is_counted() -> None:
    backlog = Backlog(100)
    backlog.put(1, b"a\nb\n", 1.0)
    backlog.put(1, b"part", 1.0)
    backlog.give_up()
    assert (backlog.dropped_lines, backlog.dropped_size, len(backlog.waiting)) == (3, 8, 0)


def test_a_report_that_is_given_up_is_no_line_of_the_program() -> None:
    disk = Disk(Backlog(5))
    disk.backlog.put(1, b"too long\n", 1.0)
    disk.write(1)
    assert disk.files[0] == b"g"
    disk.backlog.put(1, b"a\n", 1.0)
    disk.backlog.give_up()
    assert disk.backlog.dropped_lines == 2
