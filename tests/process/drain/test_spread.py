"""The order spread: the connections of a drain end one after the other, each after a response."""

from __future__ import annotations

import ssl
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.process.adoption.test_shim_wire import Program, Run, Supervisor, run, supervisor
from tests.process.drain.test_shim_drain import drain, order
from tests.process.gates.gated import Listener, listener
from tests.servers.kept import APPLICATIONS, HTTP2_SERVERS, SERVERS, UVICORN
from tests.support import certificate, wait
from tests.support.kept_client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["listener", "run", "supervisor"]  # fixtures

SPREAD = 1.5
# cheroot keeps 10 connections, and gunicorn's threads serve 4 over HTTP/2.
CLIENTS = 9
HTTP2_CLIENTS = 4
# hypercorn ends each connection after 1,000 requests.
PACE = 0.01
SERVICE_RESTART, GOING_AWAY = 1012, 1001
AWAY = ("sanic", "websockets", "websockets-legacy")
# daphne's reactor is not asyncio's.
SOCKETS = [name for name, server in SERVERS.items() if server.sockets and name != "daphne"]
# The other implementations of uvicorn's WebSockets, and the library by itself.
WEBSOCKETS = """
import asyncio, socket, sys
from websockets.{} import {}
async def echo(websocket):
    async for message in websocket: await websocket.send(message)
async def main():
    async with serve(echo, sock=socket.socket(fileno=int(sys.argv[1]))) as server:
        await asyncio.Event().wait()
asyncio.run(main())
"""
ARGUMENTS = {
    "uvicorn-websockets": (*UVICORN, "--ws=websockets", "--loop=asyncio"),
    "uvicorn-websockets-sansio": (*UVICORN, "--ws=websockets-sansio"),
    "uvicorn-wsproto": (*UVICORN, "--ws=wsproto"),
    "websockets": ("-c", WEBSOCKETS.format("asyncio.server", "serve"), "FD"),
    "websockets-legacy": ("-Wignore", "-c", WEBSOCKETS.format("legacy.server", "serve"), "FD"),
}
# Nobody waits for its end.
FOREVER = 1e6


@pytest.fixture(params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name not in ARGUMENTS and not (SERVERS | HTTP2_SERVERS)[name].installed:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def http2(request: pytest.FixtureRequest) -> bool:
    """Whether the server speaks HTTP/2."""
    return bool(getattr(request, "param", False))


@pytest.fixture
def server(name: str, http2: bool, run: Run, listener: Listener, folder: Path) -> Program:
    (folder / "applications.py").write_text(APPLICATIONS)
    found = ARGUMENTS.get(name) or (HTTP2_SERVERS if http2 else SERVERS)[name].arguments
    arguments = [argument.replace("FD", listener.fd) for argument in found]
    if name.endswith("-tls"):
        path = str(folder / "certificate.pem")
        certificate.make(path)
        arguments = [argument.replace("certificate.pem", path) for argument in arguments]
    return run(*arguments, pass_fds=[int(listener.fd)], python=sys.executable, path=[str(folder)])


@pytest.fixture
def clients(server: Program, listener: Listener) -> Iterator[list[Client]]:
    with ExitStack() as stack:
        made = [Client(listener.connect()) for _ in range(CLIENTS)]
        for client in made:
            stack.callback(client.close)
        yield made


def spread(server: Program, supervisor: Supervisor) -> None:
    assert order(server, supervisor, f"spread {SPREAD}") == "done spread"
    assert not any("!" in adapter for adapter in drain(server, supervisor))


def is_last(client: Client) -> bool:
    return client.ask() and client.at_end()


def ends(lasts: Sequence[Callable[[], bool]], begin: Callable[[], object]) -> list[float]:
    """Call each again and again until it returns True. Returns the seconds from `begin` to then."""
    never = threading.Event()
    found: list[float] = []

    def ask(last: Callable[[], bool]) -> None:
        while not last():
            never.wait(PACE)
        found.append(time.monotonic())

    threads = [threading.Thread(target=ask, args=(last,), daemon=True) for last in lasts]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    begin()
    for thread in threads:
        thread.join(wait.TIMEOUT)
    assert len(found) == len(lasts), "not all of them ended, or not as they should"
    return [at - began for at in sorted(found)]


def assert_even(ends: list[float], spread: float) -> None:
    """Check that they are spread over the time. A slow machine makes them later, never earlier."""
    for share in (0.1, 0.3, 0.5):
        early = sum(end <= share * spread for end in ends)
        assert early <= (share + 0.25) * len(ends), (share, ends)
    assert ends[-1] - ends[0] >= spread / 4, ends


def test_connections_end_one_after_the_other(
    server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    assert not any(client.ask() for client in clients)
    lasts = [partial(is_last, client) for client in clients]
    assert_even(ends(lasts, lambda: spread(server, supervisor)), SPREAD)


@pytest.mark.parametrize("name", ["uvicorn-h11", "gunicorn-gthread", "aiohttp"], indirect=True)
def test_without_it_they_end_at_once(
    server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    """Also in the drain after one that was undone."""
    assert not any(client.ask() for client in clients)
    order(server, supervisor, f"spread {FOREVER}")
    drain(server, supervisor)
    order(server, supervisor, "spread 0")
    assert not any(client.ask() for client in clients), "a repeated order changes nothing"
    order(server, supervisor, "serve")
    order(server, supervisor, "spread 0")
    drain(server, supervisor)
    assert all(is_last(client) for client in clients)


@pytest.mark.parametrize("name", [*SOCKETS, *ARGUMENTS], indirect=True)
def test_websockets_are_closed_one_after_the_other(
    name: str, server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    library = name.startswith("websockets")
    if library:
        clients[0].upgrade()
        clients[0].close()
    else:
        clients[0].ask()
    for client in clients[1:]:
        client.upgrade()
        assert client.echo()
    order(server, supervisor, f"spread {FOREVER}")
    drain(server, supervisor)

    def restarts(client: Client) -> bool:
        assert client.closed() == (GOING_AWAY if name in AWAY else SERVICE_RESTART)
        # aiohttp closes the connection when the handler returns, without waiting for the answer.
        with suppress(*[ConnectionResetError] if name == "aiohttp" else []):
            assert client.at_end()
        return True

    def close() -> None:
        words = f"close websockets {SPREAD}"
        assert order(server, supervisor, words) == f"done close {CLIENTS - 1}"
        assert order(server, supervisor, words) == "done close 0", "the order was repeated"

    assert_even(ends([partial(restarts, client) for client in clients[1:]], close), SPREAD)
    if not library:
        assert not clients[0].ask(), "this is no WebSocket"


@pytest.mark.parametrize("name", ["uvicorn-httptools"], indirect=True)
def test_serve_ends_the_closing_of_websockets(
    server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    for client in clients:
        client.upgrade()
        assert client.echo()
    spread(server, supervisor)
    late = f"close websockets {FOREVER}"
    assert order(server, supervisor, late) == f"done close {CLIENTS}"
    assert order(server, supervisor, "serve") == "done serve"
    assert all(client.echo() for client in clients)
    spread(server, supervisor)
    soon = "close websockets 0.001"
    assert order(server, supervisor, soon) == f"done close {CLIENTS}", "this is another drain"
    assert all(client.closed() == SERVICE_RESTART and client.at_end() for client in clients)


@pytest.mark.parametrize("http2", [True], indirect=True)
@pytest.mark.parametrize("name", HTTP2_SERVERS, indirect=True)
def test_goaways_follow_one_after_the_other(
    name: str, server: Program, supervisor: Supervisor, listener: Listener
) -> None:
    pytest.importorskip("h2")
    from tests.support import h2_client

    def connect() -> h2_client.Client:
        plain = listener.connect()
        if name.endswith("-tls"):
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            plain = context.wrap_socket(plain)
        return h2_client.Client(plain)

    def last(client: h2_client.Client) -> bool:
        client.ask()
        return bool(client.goaways)

    with ExitStack() as stack:
        clients = [stack.enter_context(closing(connect())) for _ in range(HTTP2_CLIENTS)]
        for client in clients:
            client.ask()
        lasts = [partial(last, client) for client in clients]
        assert_even(ends(lasts, lambda: spread(server, supervisor)), SPREAD)
