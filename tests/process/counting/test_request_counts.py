"""The requests of two generations, counted by their shims and read by the supervisor."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Protocol

import pytest

from sockact.supervisor.counting import request_counts
from sockact.supervisor.counting.counted_page import CountedPage
from sockact.supervisor.counting.request_counts import RequestCounts
from sockact.supervisor.processes.processes import Processes
from sockact.supervisor.processes.shim_calls import ShimCalls
from tests.process.adoption.test_shim_wire import Run
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockact.core.canary.sample import Sample
    from sockact.supervisor.base.loop import Loop
    from tests.process.adoption.test_shim_wire import Program

# A server without a socket: http.server's handler, and what it reads and writes.
SERVER = """
import http.server, io
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/fail": raise ValueError
        self.send_response(int(self.path[1:])); self.end_headers()
    def log_message(self, *args): pass
    def setup(self):
        self.rfile, self.wfile = io.BytesIO(self.request), io.BytesIO()
    def finish(self): pass
def ask(what, times=1):
    for _ in range(times):
        attempt(Handler, f"GET /{what} HTTP/1.1\\r\\n\\r\\n".encode(), None, None)
"""


class Counts(Protocol):
    """What the verdict needs."""

    def start(self, generation: int) -> None: ...
    def read(self, generation: int) -> Sample | None: ...
    def stop(self) -> None: ...


class Supervisor:
    """The parts of a supervisor, and programs of its generations."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.name = f"sockact-test-{os.getpid()}"
        self.processes = Processes(self.name)
        self.calls = ShimCalls(
            loop, self.name, self.processes.generation_of, lambda *_: None, lambda *_: None
        )
        self.counts: Counts = RequestCounts(self.processes, self.calls)
        self.run = Run(self)  # type: ignore[arg-type]

    def close(self) -> None:
        self.counts.stop()
        self.run.close()
        self.calls.close()

    def program(self, generation: int = 1, source: str = SERVER) -> Program:
        program = self.run.obedient()
        program.do(f"exec({source!r}, globals())")
        self.processes.add(program.pid, generation)
        return program

    def until(self, fact: Callable[[], object]) -> None:
        """Turn the loop until this is so."""

        def turn() -> bool:
            self.loop.at(time.monotonic() + wait.INTERVAL, self.loop.stop)
            self.loop.run()
            return bool(fact())

        wait.until(turn, "the shims")

    def settle(self) -> None:
        """Turn the loop until there is no order."""
        self.until(lambda: not self.calls.busy())

    def start(self, *generations: int) -> None:
        for generation in generations or (1,):
            self.counts.start(generation)
        self.settle()

    def read(self, generation: int = 1) -> tuple[int, int, int] | None:
        """Requests, errors and resets."""
        found = self.counts.read(generation)
        self.settle()
        return (found.requests, found.errors, found.resets) if found else None


@pytest.fixture
def supervisor(loop: Loop) -> Iterator[Supervisor]:
    made = Supervisor(loop)
    yield made
    made.close()


def test_two_generations(supervisor: Supervisor) -> None:
    old, new = supervisor.program(1), supervisor.program(2)
    assert supervisor.counts.read(1) is None
    supervisor.start(1, 2)
    assert supervisor.read(1) == supervisor.read(2) == (0, 0, 0)
    old.do("ask(200, 3)")
    new.do("ask(200); ask(503); ask('fail')")
    assert supervisor.read(1) == (3, 0, 0)
    assert supervisor.read(2) == (3, 1, 1)
    found = supervisor.counts.read(2)
    assert found is not None
    assert sum(found.durations) == 3


def test_nothing_is_counted_after_the_end(supervisor: Supervisor) -> None:
    program = supervisor.program()
    files = program.do("result = os.listdir('/proc/self/fd')")
    own = os.listdir("/proc/self/fd")
    supervisor.start()
    program.do("ask(200)")
    assert supervisor.read() == (1, 0, 0)
    supervisor.counts.stop()
    supervisor.settle()
    assert supervisor.counts.read(1) is None
    program.do("import sockact_shim.counting.page as page; ask(200)")
    assert program.do("result = page._page") is None
    assert program.do("result = os.listdir('/proc/self/fd')") == files
    assert os.listdir("/proc/self/fd") == own
    supervisor.start()
    assert supervisor.read() == (0, 0, 0)


def test_a_process_that_ends_is_still_counted(supervisor: Supervisor) -> None:
    first, second = supervisor.program(), supervisor.program()
    supervisor.start()
    first.do("ask(200, 4)")
    second.do("ask(500)")
    assert supervisor.read() == (5, 1, 0)
    own = len(os.listdir("/proc/self/fd"))
    first.do("ask(200, 2)")
    first.process.kill()
    first.process.wait()
    second.do("ask(500)")
    assert supervisor.read() == (8, 2, 0)
    # Its pipes are still open; its page is not.
    assert len(os.listdir("/proc/self/fd")) == own - 1
    second.process.kill()
    second.process.wait()
    assert supervisor.read() == (8, 2, 0)


def test_a_worker_that_is_forked_later(supervisor: Supervisor) -> None:
    program = supervisor.program()
    supervisor.start()
    program.do("ask(200, 2)")
    assert supervisor.read() == (2, 0, 0)
    serve = "while 1: signal.sigwaitinfo([10]); ask(404); os.kill(os.getppid(), 12)"
    program.do("signal.pthread_sigmask(0, [10, 12])")
    child = program.do(f"result = os.fork(); result or exec({serve!r})")
    supervisor.read()
    program.do(f"os.kill({child}, 10); signal.sigwaitinfo([12])")
    assert supervisor.read() == (3, 0, 0)
    program.do(f"ask(200); os.kill({child}, 9); os.wait()")
    assert supervisor.read() == (4, 0, 0)


def test_a_server_that_is_loaded_later(supervisor: Supervisor) -> None:
    program = supervisor.program(source="")
    supervisor.start()
    assert supervisor.read() is None
    program.do(f"exec({SERVER!r}, globals())")
    supervisor.until(lambda: supervisor.read() is not None)
    program.do("ask(200)")
    assert supervisor.read() == (1, 0, 0)


def test_a_process_that_has_had_no_request_is_asked_less_and_less_often(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor.program()
    asked: list[int] = []
    order = supervisor.calls.order

    def counting(pid: int, *arguments: object, **named: object) -> None:
        asked.append(pid)
        order(pid, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(supervisor.calls, "order", counting)
    supervisor.start()
    for _ in range(30):
        assert supervisor.read() == (0, 0, 0)
    assert len(asked) == 5  # at the looks 0, 2, 6, 14 and 30


def test_a_process_without_the_shim(supervisor: Supervisor) -> None:
    program = supervisor.program()
    program.do("signal.signal(50, signal.SIG_IGN)")
    supervisor.start()
    assert supervisor.read() is None


def test_pages_are_few(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_counts, "_MOST_PAGES", 2)
    programs = [supervisor.program() for _ in range(3)]
    supervisor.start()
    for program in programs:
        program.do("ask(200)")
    assert supervisor.read() == (2, 0, 0)


def test_the_end_overtakes_an_order(supervisor: Supervisor) -> None:
    """A descriptor that is closed by then is not sent, nor what has taken its number."""
    program = supervisor.program()
    os.kill(program.pid, signal.SIGSTOP)
    number = os.dup(0)
    os.close(number)
    supervisor.counts.start(1)
    supervisor.counts.stop()
    other = CountedPage()
    assert other.fileno() == number
    os.kill(program.pid, signal.SIGCONT)
    supervisor.settle()
    assert not program.do("result = 'sockact-counts' in open('/proc/self/maps').read()")
    other.close()
    supervisor.start()
    program.do("ask(200)")
    assert supervisor.read() == (1, 0, 0)
