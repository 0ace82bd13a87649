"""--close-spread: a reload closes its connections one after the other, with an announcement."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.process.drain.test_spread import SERVICE_RESTART, assert_even, ends, is_last
from tests.servers.kept import APPLICATIONS
from tests.support import wait
from tests.support.kept_client import Client
from tests.support.program import connect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

CLIENTS = 60
# A response in the same tick as its request leaves open which of the two came last.
SLOW = """
import asyncio
async def slow(scope, receive, send):
    await asyncio.sleep(0.03)
    await asgi(scope, receive, send)
"""


class Site:
    """A service with uvicorn, and its clients."""

    def __init__(
        self,
        start: StartService,
        folder: Path,
        stack: ExitStack,
        options: tuple[str, ...],
        workers: int = 1,
    ) -> None:
        (folder / "applications.py").write_text(APPLICATIONS + SLOW)
        self._stack = stack
        self._port = wait.free_port()
        address = (
            "--port",
            str(self._port),
            "--app-dir",
            str(folder),
            "--log-level=error",
            f"--workers={workers}",
        )
        command = [sys.executable, "-m", "uvicorn", *address, "applications:slow"]
        listen = (f"127.0.0.1:{self._port}",)
        self.service: Service = start(command, listen=listen, options=options)

    def clients(self, number: int) -> list[Client]:
        found = [Client(connect(("127.0.0.1", self._port))) for _ in range(number)]
        return [self._stack.enter_context(closing(client)) for client in found]

    def reload(self) -> None:
        assert self.service.reload().code == 0


@pytest.fixture
def stack() -> ExitStack:
    pytest.importorskip("uvicorn")
    return ExitStack()


@pytest.mark.parametrize("workers", [1, 3])
def test_clients_leave_one_after_the_other(
    start: StartService, folder: Path, stack: ExitStack, workers: int
) -> None:
    with stack:
        site = Site(start, folder, stack, ("--close-spread", "3s"), workers)
        clients = site.clients(CLIENTS)
        assert not any(client.ask() for client in clients)
        assert_even(ends([partial(is_last, client) for client in clients], site.reload), 3.0)
    site.service.wait_drained()


def test_a_client_that_pauses_is_told_too(
    start: StartService, folder: Path, stack: ExitStack
) -> None:
    """Without the spread, its generation would end in its first pause."""
    with stack:
        options = ("--close-spread", "2s", "--quiet-after", "50ms")
        site = Site(start, folder, stack, options)
        clients = site.clients(3)
        assert not any(client.ask() for client in clients)

        def last_after_pause(client: Client) -> bool:
            assert not wait.readable(client.fileno(), timeout=0.4), "it was closed in its pause"
            return is_last(client)

        asking = [partial(last_after_pause, client) for client in clients]
        ends(asking, site.reload)
    site.service.wait_drained()


def test_idle_clients_do_not_hold_the_drain_after_the_spread(
    start: StartService, folder: Path, stack: ExitStack
) -> None:
    with stack:
        options = ("--close-spread", "1s", "--quiet-after", "50ms", "--drain-timeout", "1h")
        site = Site(start, folder, stack, options)
        (client,) = site.clients(1)
        assert not client.ask()
        site.reload()
        assert client.at_end()
    site.service.wait_drained()


def test_a_service_that_stops_spreads_nothing(
    start: StartService, folder: Path, stack: ExitStack
) -> None:
    with stack:
        options = ("--close-spread", "1h", "--drain-timeout", "1h", "--quiet-after", "50ms")
        site = Site(start, folder, stack, options)
        idle, told = site.clients(2)
        assert not idle.ask()
        assert not told.ask()
        site.reload()
        assert not told.ask()
        assert site.service.stop() == 0


def test_websockets_are_closed_before_the_drain_timeout(
    start: StartService, folder: Path, stack: ExitStack
) -> None:
    pytest.importorskip("websockets")
    with stack:
        site = Site(start, folder, stack, ("--close-spread", "2s", "--drain-timeout", "5s"))
        clients = site.clients(8)
        for client in clients:
            client.upgrade()
            assert client.echo()

        def restarts(client: Client) -> bool:
            return client.closed() == SERVICE_RESTART and client.at_end()

        found = ends([partial(restarts, client) for client in clients], site.reload)
        # 1 s before the timeout they are all closed.
        assert found[0] >= 2.0
        assert_even([end - 2.0 for end in found], 2.0)
    site.service.wait_drained()
    assert "the drain timeout" not in site.service.stderr
