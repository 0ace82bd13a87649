"""The page inside a program: threads, forks, other pages, other versions."""

from __future__ import annotations

import math
import os
import sys
from array import array
from typing import TYPE_CHECKING

import pytest

from sockact.core.canary import sample
from sockact.kernel import memfd
from sockact.supervisor.counting import counted_page
from sockact.supervisor.counting.counted_page import KINDS, RESETS, SIZE, VERSION, CountedPage
from tests.process.adoption.test_shim_wire import Program, Run, Supervisor, run, supervisor
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["run", "supervisor"]  # fixtures

END = "page.end(page.begin(), 200)"


def count(program: Program, supervisor: Supervisor, fd: int | None) -> str:
    conversation = supervisor.call(program.pid)
    conversation.send("count", [] if fd is None else [fd])
    answer = conversation.receive()
    conversation.close()
    return answer


def numbers(page: CountedPage) -> list[int]:
    totals = [0] * counted_page.COUNTERS
    page.add_to(totals)
    return totals


@pytest.fixture
def page() -> Iterator[CountedPage]:
    made = CountedPage()
    yield made
    made.close()


@pytest.fixture
def program(run: Run, supervisor: Supervisor, page: CountedPage) -> Program:
    started = run.obedient()
    assert count(started, supervisor, page.fileno()) == "done count"
    started.do("import sockact_shim.counting.page as page, threading")
    return started


def test_both_sides_have_the_same_numbers(program: Program) -> None:
    assert program.do("result = page.VERSION, page.SIZE, page.BUCKETS") == (
        *(VERSION, SIZE),
        sample.BUCKETS,
    )
    edges = [sample.edge(at) for at in range(-8, sample.BUCKETS + 8)]
    both = [x for edge in edges for x in (edge, math.nextafter(edge, 0), math.nextafter(edge, 1e9))]
    durations = [-1.0, 0.0, *both, 1e9]
    assert program.do(f"result = [page.bucket(x) for x in {durations}]") == [
        sample.bucket(x) for x in durations
    ]


def test_statuses(program: Program, page: CountedPage) -> None:
    for status in ("200", "'404'", "b'503'", "700", "-5", "page.RESET", "page.LEFT", "101"):
        program.do(f"page.end(page.begin(), {status})")
    for unknown in ("None", "'what'", "object()", "float('inf')"):
        program.do(f"page.end(page.begin(), {unknown})")
    found = numbers(page)
    assert found[:KINDS] == [2, 1, 1, 0, 2, 2]
    assert sum(found[KINDS:]) == 7, "an upgrade has no duration"


def test_what_began_before_the_order_is_not_counted(program: Program, page: CountedPage) -> None:
    program.do("page.end(0.0, 200); page.end(page._page.since - 1, 200)")
    assert not any(numbers(page))


def test_threads_lose_no_count(program: Program, page: CountedPage) -> None:
    program.do("sys.setswitchinterval(1e-6)")
    work = f"def work(): [{END} for _ in range(5000)]"
    program.do(f"exec({work!r}, globals())")
    program.do("threads = [threading.Thread(target=work) for _ in range(8)]")
    program.do("[thread.start() for thread in threads]; [thread.join() for thread in threads]")
    found = numbers(page)
    assert (found[2], sum(found[KINDS:])) == (40_000, 40_000)


def test_a_forked_child_has_its_own_page(
    program: Program, supervisor: Supervisor, page: CountedPage, run: Run
) -> None:
    fork = f"if not os.fork(): {END}; os._exit(0)"
    program.do(f"exec({fork!r}); os.wait()")
    assert not any(numbers(page))
    # A child that counts, too, leaves its parent's page alone.
    loop = f"result = os.fork(); result or exec('while 1: {END}; signal.sigtimedwait([15], 0.01)')"
    child = program.do(loop)
    other = CountedPage()
    conversation = supervisor.call(child)
    fd = other.fileno()
    assert fd is not None
    conversation.send("count", [fd])
    assert conversation.receive() == "done count"
    conversation.close()
    wait.until(lambda: numbers(other)[2] > 0, "a request of the child")
    program.do(END)
    assert numbers(page)[2] == 1
    other.close()


def test_a_page_that_comes_with_the_fork_is_kept(
    supervisor: Supervisor, page: CountedPage, run: Run
) -> None:
    """The order may be handled before what the shim itself does after a fork."""
    started = run.obedient()
    started.do(
        "early = []; os.register_at_fork(after_in_child=lambda early=early: [x() for x in early])"
    )
    assert count(started, supervisor, page.fileno()) == "done count"
    started.do("import sockact_shim.counting.page as page")
    started.do("fd = os.memfd_create('other'); os.ftruncate(fd, page.SIZE)")
    started.do("os.pwrite(fd, page.VERSION.to_bytes(8, sys.byteorder), 0)")
    started.do("early.append(lambda start=page.start, fd=fd: start(fd))")
    fork = f"if not os.fork(): {END}; os._exit(0)"
    started.do(f"exec({fork!r}); os.wait()")
    assert started.do("result = os.pread(fd, 8, 8 * (1 + 2))") == (1).to_bytes(8, sys.byteorder)
    assert not any(numbers(page))


def test_another_page_takes_its_place(
    program: Program, supervisor: Supervisor, page: CountedPage
) -> None:
    program.do(END)
    assert numbers(page)[2] == 1
    files = program.do("result = os.listdir('/proc/self/fd')")
    mapped = "result = open('/proc/self/maps').read().count('sockact-counts')"
    for _ in range(3):
        other = CountedPage()
        assert count(program, supervisor, other.fileno()) == "done count"
        program.do(END)
        assert numbers(other)[2] == 1
        assert program.do(mapped) == 1
        other.close()
    assert not any(numbers(page))
    assert program.do("result = os.listdir('/proc/self/fd')") == files


def test_a_page_of_another_version(
    program: Program, supervisor: Supervisor, page: CountedPage
) -> None:
    """The shim and the supervisor may be of different versions. The page before is kept."""
    later = memfd.fixed("later", array("Q", [VERSION + 1]).tobytes() + bytes(SIZE - 8))
    short = memfd.fixed("short", array("Q", [VERSION]).tobytes())
    for fd in (later, short):
        assert count(program, supervisor, fd).startswith("error ValueError: version ")
        os.close(fd)
    assert count(program, supervisor, None) == "error unknown order count"
    program.do(END)
    assert numbers(page)[2] == 1


def test_nothing_is_counted_without_a_page(
    program: Program, supervisor: Supervisor, page: CountedPage
) -> None:
    assert supervisor.order(program.pid, "uncount") == ["done uncount"]
    program.do(END)
    assert program.do("result = page.begin()") == 0.0
    assert not any(numbers(page))
    assert RESETS == program.do("result = page.RESET")
