"""Connections without traffic for a while: pauses in a response, and late first requests."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import wait
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
        for _ in range(3):
            time.sleep(0.4)
            connection.sendall(b"part ")
        connection.sendall(VERSION)
try:
    accept(bound())
except ZeroDivisionError:
    pass
"""


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


def test_a_response_with_pauses_is_finished_after_the_stop_signal(
    start: StartService, program: Program
) -> None:
    """It looks idle; SIGKILL waits for the drain timeout."""
    program.publish("1", STREAM)
    service = start(
        program.command,
        listen=program.listen,
        options=("--quiet-after", "200ms", "--kill-timeout", "200ms", "--drain-timeout", "30s"),
    )
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"go")
        assert client.recv(100) == b"begun "
        program.publish("2")
        assert service.reload().code == 0
        assert read_all(client) == "part part part 1"
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
    assert "the drain timeout of 2 s expired, sending SIGTERM" in service.stderr


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
    certificate = folder / "both.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9"
    files = ["-subj", "/CN=localhost", "-keyout", str(certificate), "-out", str(folder / "c")]
    subprocess.run([*request.split(), *files], check=True, capture_output=True)
    with certificate.open("a") as file:
        file.write((folder / "c").read_text())
    program.publish("1", ENCRYPTED)
    command = [*program.command, str(certificate)]
    service = start(command, listen=program.listen, options=("--quiet-after", "100ms"))
    with _shaken(connect(("127.0.0.1", program.port))) as client:
        program.publish("2", ENCRYPTED)
        assert service.reload().code == 0
        # Longer than it takes until an idle connection is seen as such.
        ended = wait.readable(client.fileno(), timeout=0.6)
        client.sendall(b"go")
        assert (ended, client.recv(100)) == ([], b"1")
