"""The orders drain and serve, with real servers and clients that keep their connections."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from sockact.kernel import procfs
from tests.process.adoption.test_shim_wire import (
    Program,
    Run,
    Supervisor,
    has_shim,
    run,
    supervisor,
)
from tests.process.gates.gated import Listener, listener
from tests.servers.kept import APPLICATIONS, CLOSING_SERVERS, SERVERS
from tests.support import wait
from tests.support.kept_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["listener", "run", "supervisor"]  # fixtures

ALL = SERVERS | CLOSING_SERVERS
EARLY = [name for name, server in SERVERS.items() if server.early]
SOCKETS = [name for name, server in SERVERS.items() if server.sockets]
# The rest read the whole request first, or end a connection of which they have not.
ENDING = ("http_server", "django", "tornado", "gunicorn-gthread")
REFUSING = [name for name in EARLY if name not in ENDING]
# Whose applications may answer 101 themselves.
UPGRADES = ("http_server", "gunicorn-gthread", "gunicorn-gevent", "gunicorn-pywsgi", "gevent")


@pytest.fixture(params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not ALL[name].installed:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def server(name: str, run: Run, listener: Listener, folder: Path) -> Program:
    (folder / "applications.py").write_text(APPLICATIONS)
    arguments = [argument.replace("FD", listener.fd) for argument in ALL[name].arguments]
    return run(*arguments, pass_fds=[int(listener.fd)], python=sys.executable, path=[str(folder)])


@pytest.fixture
def clients(server: Program, listener: Listener) -> Iterator[list[Client]]:
    made = [Client(listener.connect()) for _ in range(3)]
    yield made
    for client in made:
        client.close()


def order(program: Program, supervisor: Supervisor, words: str) -> str:
    """Give an order to all processes. Returns the answer of the youngest, which serves."""
    family = psutil.Process(program.pid)
    pids = [program.pid, *(child.pid for child in family.children(recursive=True))]
    answers = [supervisor.order(pid, words) for pid in pids if has_shim(pid)]
    return answers[-1][0]


def drain(program: Program, supervisor: Supervisor) -> list[str]:
    """Order `drain`; returns the adapters that answered."""
    return order(program, supervisor, "drain").split()[2:]


def test_connections_end_after_their_next_answer(
    name: str, server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    for _ in range(2):
        assert not any(client.ask() for client in clients)
    busy, *idle = clients
    busy.begin()
    adapters = drain(server, supervisor)
    assert SERVERS[name].adapter in adapters
    assert not any("!" in adapter for adapter in adapters)
    for client in idle:
        assert client.ask()
        assert client.at_end()
    assert busy.finish() or busy.ask(), "the answer that was under way, or the next"
    assert busy.at_end()


def test_serve_undoes_it(
    server: Program, supervisor: Supervisor, listener: Listener, clients: list[Client]
) -> None:
    last, *kept = clients
    assert not any(client.ask() for client in clients)
    for _ in range(2):
        drain(server, supervisor)
    assert last.ask()
    assert last.at_end()
    assert order(server, supervisor, "serve") == "done serve"
    kept.append(Client(listener.connect()))
    for _ in range(2):
        assert not any(client.ask() for client in kept)
    drain(server, supervisor)
    for client in kept:
        assert client.ask()
        assert client.at_end()


def test_a_client_that_never_pauses_sees_no_unannounced_end(
    server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    assert not any(client.ask() for client in clients)
    ended: list[bool] = []

    def ask(client: Client) -> None:
        while not client.ask():
            pass
        ended.append(client.at_end())

    threads = [threading.Thread(target=ask, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    drain(server, supervisor)
    for thread in threads:
        thread.join(wait.TIMEOUT)
    assert ended == [True] * len(clients)


@pytest.mark.parametrize("name", EARLY, indirect=True)
def test_a_response_that_is_under_way_ends_whole(
    server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    early = clients[0]
    assert not early.ask()
    assert not early.begin_early()
    drain(server, supervisor)
    early.finish_early()
    assert early.ask()
    assert early.at_end()


@pytest.mark.parametrize("name", REFUSING, indirect=True)
def test_an_answer_to_a_request_that_is_not_read_arrives(
    server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    assert not any(client.ask() for client in clients)
    drain(server, supervisor)
    for client in clients:
        assert client.refused() or client.ask()
        assert client.at_end()


@pytest.mark.parametrize("name", SOCKETS, indirect=True)
def test_a_websocket_is_left_alone(
    server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    before, meanwhile, after = clients
    before.upgrade()
    drain(server, supervisor)
    meanwhile.upgrade()
    order(server, supervisor, "serve")
    after.upgrade()
    for _ in range(2):
        assert all(client.echo() for client in clients)


@pytest.mark.parametrize("name", SOCKETS, indirect=True)
def test_websockets_are_named(
    server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    kept, one, other = clients
    kept.ask()
    assert order(server, supervisor, "upgraded") == "done upgraded"
    one.upgrade()
    other.upgrade()
    assert one.echo()
    assert other.echo()
    found = {int(word) for word in order(server, supervisor, "upgraded").split()[2:]}
    family = [server.pid, *(x.pid for x in psutil.Process(server.pid).children(recursive=True))]
    assert len(found) == 2
    assert found <= {inode for pid in family for inode in procfs.sockets(pid).values()}
    one.close()

    def left() -> bool:
        return len(order(server, supervisor, "upgraded").split()[2:]) == 1

    wait.until(left, "the closed one to be forgotten")


@pytest.mark.parametrize("name", UPGRADES, indirect=True)
def test_an_applications_own_upgrade_is_left_alone(
    server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    before, meanwhile, _ = clients
    before.upgrade()
    drain(server, supervisor)
    meanwhile.upgrade()


@pytest.mark.parametrize("name", CLOSING_SERVERS, indirect=True)
def test_these_close_always(server: Program, supervisor: Supervisor, clients: list[Client]) -> None:
    for client, words in zip(clients, ("serve", "drain", "serve"), strict=True):
        assert client.ask()
        assert client.at_end()
        assert "!" not in order(server, supervisor, words)
