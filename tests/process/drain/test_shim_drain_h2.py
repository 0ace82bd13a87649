"""The orders drain and serve over HTTP/2: a graceful GOAWAY (RFC 9113, section 6.8)."""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING

import pytest

from tests.process.adoption.test_shim_wire import Program, Run, Supervisor, run, supervisor
from tests.process.drain.test_shim_drain import drain, order
from tests.process.gates.gated import Listener, listener
from tests.servers.kept import APPLICATIONS, HTTP2_SERVERS

pytest.importorskip("h2")
from tests.support import certificate
from tests.support.h2_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["listener", "run", "supervisor"]  # fixtures

GRACEFUL = (2**31 - 1, 0)
# A connection that has never a moment without an open stream is told after so many answers.
PATIENCE = 100
# It serves one stream after the other.
CONCURRENT = [name for name in HTTP2_SERVERS if name != "gunicorn-gthread"]


@pytest.fixture(params=HTTP2_SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not HTTP2_SERVERS[name].installed:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def server(name: str, run: Run, listener: Listener, folder: Path) -> Program:
    (folder / "applications.py").write_text(APPLICATIONS)
    arguments = [argument.replace("FD", listener.fd) for argument in HTTP2_SERVERS[name].arguments]
    if name.endswith("-tls"):
        path = str(folder / "certificate.pem")
        certificate.make(path)
        arguments = [argument.replace("certificate.pem", path) for argument in arguments]
    return run(*arguments, pass_fds=[int(listener.fd)], python=sys.executable, path=[str(folder)])


@pytest.fixture
def client(name: str, server: Program, listener: Listener) -> Iterator[Client]:
    plain = listener.connect()
    if name.endswith("-tls"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        plain = context.wrap_socket(plain)
    client = Client(plain)
    yield client
    client.close()


def test_a_goaway_follows_the_next_answer(
    name: str, server: Program, supervisor: Supervisor, client: Client
) -> None:
    for _ in range(2):
        client.ask()
    adapters = drain(server, supervisor)
    assert HTTP2_SERVERS[name].adapter in adapters
    assert not any("!" in adapter for adapter in adapters)
    client.ask()
    client.wait_for_goaway()
    client.ask()  # this one was on its way
    assert client.goaways == [GRACEFUL]


@pytest.mark.parametrize("name", CONCURRENT, indirect=True)
def test_open_streams_end_first(server: Program, supervisor: Supervisor, client: Client) -> None:
    client.ask()
    stream = client.begin()
    drain(server, supervisor)
    for _ in range(2):
        client.ask()
    assert client.goaways == []
    client.finish(stream)
    client.wait_for_goaway()
    assert client.goaways == [GRACEFUL]


@pytest.mark.parametrize("name", CONCURRENT, indirect=True)
def test_a_connection_with_ever_open_streams_is_told_too(
    server: Program, supervisor: Supervisor, client: Client
) -> None:
    client.ask()
    stream = client.begin()
    drain(server, supervisor)
    for _ in range(PATIENCE):
        client.ask()
    client.wait_for_goaway()
    client.finish(stream)
    assert client.goaways == [GRACEFUL]


def test_serve_undoes_it(server: Program, supervisor: Supervisor, client: Client) -> None:
    client.ask()
    drain(server, supervisor)
    assert order(server, supervisor, "serve") == "done serve"
    for _ in range(2):
        client.ask()
    assert client.goaways == []
    drain(server, supervisor)
    client.ask()
    client.wait_for_goaway()
