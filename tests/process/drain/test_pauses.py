"""Connections without traffic for a while: pauses in a response, and late first requests."""

from __future__ import annotations

import importlib.util
import shutil
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.support import certificate, wait
from tests.support.kept_client import Client
from tests.support.program import Program, connect, read_all

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.conftest import StartService

# Finishes its responses when it is told to end, as servers do. Its response has pauses.
STREAM = """
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: (told.set(), 1 / 0))
def serve(connection):
    with connection:
        connection.recv(100)
        connection.sendall(b"begun ")
        told.wait()
        for _ in range(4):
            time.sleep(0.4)
            connection.sendall(b"part ")
        connection.sendall(VERSION)
try:
    accept(bound())
except ZeroDivisionError:
    pass
"""


def test_a_response_with_pauses_is_finished_after_the_stop_signal(
    start: StartService, program: Program
) -> None:
    """It looks idle; SIGKILL waits for the drain timeout."""
    program.publish("1", STREAM)
    service = start(
        program.command,
        listen=program.listen,
        options=("--quiet-after", "200ms", "--kill-timeout", "1s", "--drain-timeout", "30s"),
    )
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"go")
        assert client.recv(100) == b"begun "
        program.publish("2")
        assert service.reload().code == 0
        assert read_all(client) == "part part part part 1"
    service.wait_drained()
    assert "sending SIGTERM" in service.stderr
    assert "SIGKILL" not in service.stderr


# Ends its connection, but not itself.
STAYS = """
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())
def serve(connection):
    with connection:
        connection.recv(100)
        connection.sendall(VERSION)
        told.wait()
accept(bound())
"""


def test_without_connections_the_kill_timeout_counts(start: StartService, program: Program) -> None:
    program.publish("1", STAYS)
    service = start(
        program.command,
        listen=program.listen,
        options=("--quiet-after", "200ms", "--kill-timeout", "200ms", "--drain-timeout", "1h"),
    )
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"go")
        assert client.recv(100) == b"1"
        program.publish("2")
        assert service.reload("--wait-drained").code == 0
    assert "still running 0.2 s after its stop signal, sending SIGKILL" in service.stderr


def test_idle_connections_hold_a_drain_for_the_time_that_is_set(
    start: StartService, program: Program
) -> None:
    program.publish("1", STAYS)
    service = start(
        program.command,
        listen=program.listen,
        options=("--quiet-after", "1h", "--drain-timeout", "2s", "--kill-timeout", "100ms"),
    )
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"go")
        assert client.recv(100) == b"1"
        program.publish("2")
        assert service.reload("--wait-drained").code == 0
    expired = "the drain timeout of 2 s expired (1 connection in use), sending SIGTERM"
    assert expired in service.stderr


# A WebSocket at /ws, which ends with its process.
SOCKETS = """
from aiohttp import web, WSMsgType
async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket: await socket.send_str(message.data)
    return socket
app = web.Application()
app.router.add_get("/ws", echo)
web.run_app(app, host="127.0.0.1", port=PORT, print=None, access_log=None, shutdown_timeout=0.1)
"""


@pytest.mark.skipif(not importlib.util.find_spec("aiohttp"), reason="aiohttp is not installed")
def test_an_idle_websocket_holds_a_drain(start: StartService, program: Program) -> None:
    program.publish("1", SOCKETS)
    service = start(program.command, listen=program.listen, options=("--quiet-after", "100ms"))
    connection = connect(("127.0.0.1", program.port))
    client = Client(connection)
    client.upgrade()
    assert client.echo()
    assert service.reload().code == 0
    # Longer than it takes until an idle connection is seen as such.
    assert not wait.readable(connection.fileno(), timeout=0.6)
    assert client.echo()
    assert "SIGTERM" not in service.stderr
    client.close()
    service.wait_drained()


# Ends at once at SIGTERM.
ENCRYPTED = """
import ssl
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(sys.argv[1])
def serve(connection):
    with context.wrap_socket(connection, server_side=True) as encrypted:
        if encrypted.recv(100):
            encrypted.sendall(VERSION)
accept(bound())
"""


def _shaken(sock: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Later versions send tickets after the handshake, which would have to be read.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context.wrap_socket(sock)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_a_client_that_has_only_shaken_hands_is_waited_for(
    start: StartService, program: Program, folder: Path
) -> None:
    """As one that has only connected."""
    path = str(folder / "certificate.pem")
    certificate.make(path)
    program.publish("1", ENCRYPTED)
    command = [*program.command, path]
    service = start(command, listen=program.listen, options=("--quiet-after", "100ms"))
    with _shaken(connect(("127.0.0.1", program.port))) as client:
        program.publish("2", ENCRYPTED)
        assert service.reload().code == 0
        # Longer than it takes until an idle connection is seen as such.
        ended = wait.readable(client.fileno(), timeout=0.6)
        client.sendall(b"go")
        assert (ended, client.recv(100)) == ([], b"1")
