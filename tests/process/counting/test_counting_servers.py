"""The orders count and uncount, with real servers: statuses and durations, exactly."""

from __future__ import annotations

import http.client
import sys
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest

from sockact.core.canary.sample import bucket
from sockact.supervisor.counting.counted_page import COUNTERS, ERRORS, KINDS, RESETS, CountedPage
from tests.process.adoption.test_shim_wire import (
    Program,
    Run,
    Supervisor,
    has_shim,
    run,
    supervisor,
)
from tests.process.gates.gated import Listener, listener
from tests.servers.counted import APPLICATIONS, SECONDS, SERVERS
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["listener", "run", "supervisor"]  # fixtures

MIX = ["200"] * 5 + ["500"] * 3 + ["404"] * 2 + ["slow"]
EXPECTED = {2: 6, 4: 2, ERRORS: 3}
# If the application fails within a response, these end it as if it were complete, or not at all.
ENDING = ("werkzeug", "sanic", "daphne", "gunicorn-tornado")
# They tell the application that the client has left.
WAITING = [name for name in SERVERS if "uvicorn" in name or "hypercorn" in name or "asgi" in name]


@pytest.fixture(params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not SERVERS[name].installed:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def server(name: str, run: Run, listener: Listener, folder: Path) -> Program:
    (folder / "applications.py").write_text(APPLICATIONS)
    arguments = [argument.replace("FD", listener.fd) for argument in SERVERS[name].arguments]
    return run(*arguments, pass_fds=[int(listener.fd)], python=sys.executable, path=[str(folder)])


class Pages:
    """The pages of all processes of a program."""

    def __init__(self, program: Program, supervisor: Supervisor) -> None:
        family = psutil.Process(program.pid)
        pids = [program.pid, *(child.pid for child in family.children(recursive=True))]
        self.pages = {pid: CountedPage() for pid in pids if has_shim(pid)}
        self.totals = [0] * COUNTERS
        self._supervisor = supervisor
        self.count()

    def count(self) -> None:
        """Order `count`; keeps the answers."""
        self.answers = []
        for pid, page in self.pages.items():
            conversation = self._supervisor.call(pid)
            fd = page.fileno()
            assert fd is not None
            conversation.send("count", [fd])
            self.answers.append(conversation.receive().split())
            conversation.close()

    def uncount(self) -> None:
        for pid in self.pages:
            assert self._supervisor.order(pid, "uncount") == ["done uncount"]

    def close(self) -> None:
        for page in self.pages.values():
            page.close()

    def read(self) -> dict[int, int]:
        """How many requests have ended in which way."""
        for page in self.pages.values():
            page.add_to(self.totals)
        return {kind: number for kind, number in enumerate(self.totals[:KINDS]) if number}

    @property
    def durations(self) -> list[int]:
        self.read()
        return self.totals[KINDS:]

    def wait_for(self, expected: dict[int, int]) -> None:
        """Wait until just so many have been counted, each with its duration."""
        number = sum(expected.values())

        def arrived() -> bool:
            return sum(self.durations) >= number and sum(self.read().values()) >= number

        wait.until(arrived, f"{number} requests; there are {self.read()}")
        assert self.read() == expected
        assert sum(self.durations) == number


@pytest.fixture
def pages(server: Program, supervisor: Supervisor, listener: Listener) -> Iterator[Pages]:
    assert ask(listener, ["200"]) == [200]  # it is not counted
    made = Pages(server, supervisor)
    yield made
    made.close()


def ask(listener: Listener, paths: list[str]) -> list[int]:
    """The statuses of the responses, one after the other on a connection that may be kept; 0 for a
    response that is not complete.
    """
    host, port = listener.socket.getsockname()
    client = http.client.HTTPConnection(host, port, timeout=wait.TIMEOUT)
    found = []
    for path in paths:
        try:
            client.request("GET", f"/{path}")
            response = client.getresponse()
            response.read()
            found.append(response.status)
        except (http.client.HTTPException, ConnectionError):
            found.append(0)
            client.close()
    client.close()
    return found


def test_statuses_and_durations(name: str, pages: Pages, listener: Listener) -> None:
    names = {adapter for answer in pages.answers for adapter in answer[2:]}
    assert SERVERS[name].adapter in names or name == "django"
    assert not any("!" in adapter for adapter in names)
    assert Counter(ask(listener, MIX)) == {200: 6, 404: 2, 500: 3}
    pages.wait_for(EXPECTED)
    assert sum(pages.durations[bucket(SECONDS) :]) >= 1
    pages.uncount()
    ask(listener, ["200"])
    pages.count()  # the same page: it goes on
    ask(listener, ["200"])
    pages.wait_for(EXPECTED | {2: 7})


@pytest.mark.parametrize("name", [x for x in SERVERS if x != "gunicorn-tornado"], indirect=True)
def test_an_application_that_fails(pages: Pages, listener: Listener) -> None:
    """What is counted is what the client sees. In gunicorn's tornado worker, it waits for ever."""
    (status,) = ask(listener, ["raise"])
    assert status in (0, 500)
    pages.wait_for({ERRORS if status else RESETS: 1})


@pytest.mark.parametrize("name", [name for name in SERVERS if name not in ENDING], indirect=True)
def test_a_response_that_is_cut_off(pages: Pages, listener: Listener) -> None:
    # 200 where only the end of the connection ends the response.
    assert ask(listener, ["cut"]) in ([0], [200])
    pages.wait_for({RESETS: 1})


@pytest.mark.parametrize("name", WAITING, indirect=True)
def test_a_client_that_leaves(pages: Pages, listener: Listener) -> None:
    client = listener.connect()
    client.sendall(b"GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
    assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    client.close()
    pages.wait_for({4: 1})
