"""What a program writes to the page in which it counts."""

from __future__ import annotations

import ctypes
import mmap
import os
from array import array
from typing import TYPE_CHECKING

import pytest

from sockact.kernel import libc
from sockact.supervisor.counting.counted_page import COUNTERS, KINDS, MOST, SIZE, CountedPage

if TYPE_CHECKING:
    from collections.abc import Iterator

HUGE = 2**64 - 1
FIRST = KINDS
PUNCH_HOLE = 0x03  # with FALLOC_FL_KEEP_SIZE: linux/falloc.h


class Page(CountedPage):
    """A page, and the process that writes to it."""

    def __init__(self) -> None:
        super().__init__()
        self.totals = [0] * COUNTERS
        assert self.fd is not None

    @property
    def fd(self) -> int:
        fd = self.fileno()
        assert fd is not None
        return fd

    def write(self, **counters: int) -> None:
        """`_2=7`: counter 2 is 7."""
        for name, value in counters.items():
            os.pwrite(self.fd, array("Q", [value]).tobytes(), 8 * (1 + int(name[1:])))

    def read(self) -> tuple[int, int]:
        """Requests and durations."""
        before = [*self.totals]
        self.add_to(self.totals)
        assert all(now >= then for now, then in zip(self.totals, before, strict=True))
        return sum(self.totals[:KINDS]), sum(self.totals[KINDS:])


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    yield made
    made.close()


def test_a_program_cannot_change_its_size(page: Page) -> None:
    """Whoever maps a file that shrinks is killed by SIGBUS."""
    for size in (0, SIZE + 4096):
        with pytest.raises(PermissionError):
            os.ftruncate(page.fd, size)
    with pytest.raises(PermissionError):
        os.pwrite(page.fd, b"x", SIZE)


def test_a_hole_is_read_as_nothing(page: Page) -> None:
    """Seals do not forbid holes, and to map one may take memory that is not there."""
    mapped = mmap.mmap(page.fd, SIZE)
    page.write(_2=5)
    assert page.read() == (5, 0)
    zero, size = ctypes.c_long(0), ctypes.c_long(SIZE)
    libc.call("fallocate", page.fd, PUNCH_HOLE, zero, size)
    assert page.read() == (5, 0)
    mapped.close()


def test_a_counter_that_goes_back(page: Page) -> None:
    for value, requests in ((7, 7), (3, 7), (5, 7), (9, 9), (0, 9)):
        page.write(_2=value)
        assert page.read() == (requests, 0)


def test_absurd_counters(page: Page) -> None:
    everything = {f"_{at}": HUGE for at in range(COUNTERS)}
    for times in range(1, 4):
        page.write(**everything)
        most = times * KINDS * MOST
        assert page.read() == (most, most)
        everything["_2"] -= 1  # The page is only looked at when it has changed.


def test_more_durations_than_requests(page: Page) -> None:
    page.write(_2=3, **{f"_{FIRST + 4}": 2, f"_{FIRST + 9}": 50})
    assert page.read() == (3, 3)
    page.write(_2=10)
    assert page.read() == (10, 10)
    assert page.totals[FIRST + 4] == 2


def test_a_duration_that_is_seen_before_its_request(page: Page) -> None:
    page.write(**{f"_{FIRST}": 1})
    assert page.read() == (0, 0)
    page.write(_2=1)
    assert page.read() == (1, 1)


def test_the_first_word_is_the_programs_too(page: Page) -> None:
    os.pwrite(page.fd, b"\xff" * 8, 0)
    page.write(_5=1)
    assert page.read() == (1, 0)


def test_a_closed_page(page: Page) -> None:
    page.write(_2=1)
    page.close()
    assert page.fileno() is None
    assert page.read() == (0, 0)
