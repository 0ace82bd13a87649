"""What a program does to the shared listener does not outlive its generation."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from sockact.kernel.seccomp import SHUTDOWN_BOUND
from sockact.kernel.sockets import sockopt, upkeep
from sockact.kernel.sockets.listener import of_socket
from sockact.units import listening_sockets
from sockact.units.wrap.service_sockets import ServiceSockets
from tests.support import wait
from tests.support.program import Program, ask, connect, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

# When told so, does HARM to its listener.
SERVER = """
import ctypes, fcntl, _socket
def unseen():
    # No notification of shutdown() from this descriptor on.
    return socket.socket(fileno=fcntl.fcntl(found.fileno(), fcntl.F_DUPFD, BOUND))
def harm(*_):
    HARM
    print("harm done", flush=True)
signal.signal(signal.SIGUSR1, harm)
found = bound()
""".replace("BOUND", str(SHUTDOWN_BOUND))
STEAL = """
    high = unseen()
    peer = socket.socket()
    peer.bind(("127.0.0.1", 0))
    peer.listen()
    while True:
        try:
            _socket.socket.shutdown(high, socket.SHUT_RDWR)
            _socket.socket.connect(high, peer.getsockname())
            break
        except OSError:
            continue
"""
ACCEPT = """
while True:
    try:
        accept(found)
    except OSError:
        time.sleep(0.01)
"""
MINTTL = "found.setsockopt(socket.IPPROTO_IP, 21, 255)"
FILTER = """
    code = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))
    found.setsockopt(1, 26, struct.pack("@HP", 1, ctypes.addressof(code)))
"""


def publish_harmful(program: Program, harm: str) -> None:
    program.publish("1", "import struct" + SERVER.replace("HARM", harm.strip()) + ACCEPT)


def answer(program: Program) -> str:
    try:
        return program.ask()
    except OSError as error:
        return str(error)


def do_harm(service: Service) -> None:
    os.kill(service.status()["generations"][0]["pid"], signal.SIGUSR1)
    wait.until(lambda: "harm done" in service.stderr, "the program to do harm")


@pytest.mark.parametrize("harm", [MINTTL, FILTER], ids=["minttl", "filter"])
def test_options_that_keep_clients_away(start: StartService, program: Program, harm: str) -> None:
    publish_harmful(program, harm)
    service = start(program.command, listen=program.listen)
    do_harm(service)
    # The program that has done it is replaced; until then nobody can connect.
    program.publish("2")
    assert service.reload().code == 0, service.stderr
    assert program.ask() == "2"


def test_unwrap_makes_clients_wait_although_a_drain_ends(
    start: StartService, program: Program
) -> None:
    """The predecessor of the last reload may end while unwrap waits for the queue."""
    program.publish("1")
    service = start(program.command, listen=program.listen)
    with connect(("127.0.0.1", program.port)) as kept:
        assert program.ask() == "1"  # Which accepts in turn, so it has the other one, too.
        program.publish("2")
        assert service.reload().code == 0, service.stderr
        found = listening_sockets.find_bound([service.process.pid])
        found = [one for one in found if one.address.port == program.port]
        with ServiceSockets(found) as sockets:
            assert sockets.admit_no_more()
            kept.close()
            wait.until(lambda: list(service.states()) == [2], "the predecessor to end")
            with pytest.raises(TimeoutError):
                connect(("127.0.0.1", program.port), timeout=0.3)
            sockets.admit_again()
    assert program.ask() == "2"


def test_a_listener_that_was_made_a_client(start: StartService, program: Program) -> None:
    """It listens again at once, without a reload."""
    publish_harmful(program, STEAL)
    service = start(program.command, listen=program.listen)
    do_harm(service)
    wait.until(lambda: answer(program) == "1", "the listener to be back")
    assert "listening again" in service.stderr
    program.publish("2")
    assert service.reload().code == 0
    assert program.ask() == "2"


def test_a_loop_of_shutdowns_does_not_keep_the_supervisor_busy(
    start: StartService, program: Program
) -> None:
    body = (
        "def shut():\n    while True:\n        _socket.socket.shutdown(found, socket.SHUT_RDWR)\n"
    )
    loop = body + "threading.Thread(target=shut).start()\nprint('harm done', flush=True)"
    publish_harmful(program, loop.replace("\n", "\n    "))
    service = start(program.command, listen=program.listen, options=("--kill-timeout", "1s"))
    do_harm(service)
    before = service.stderr.count("listening again")
    for _ in range(3):
        service.status()
    assert service.stderr.count("listening again") <= before + 3
    program.publish("2", "found = bound()\n" + ACCEPT)
    assert service.reload("--wait-drained").code == 0, service.stderr
    assert program.ask() == "2"


def test_a_unix_listener_that_was_shut_down(
    start: StartService, program: Program, folder: Path
) -> None:
    """That cannot be undone: it is reported, and a reload does not claim to have worked."""
    path = str(folder / "app.sock")
    server = SERVER.replace("HARM", "_socket.socket.shutdown(unseen(), socket.SHUT_RDWR)")
    body = server.replace("bound()", f"bound({path!r}, socket.AF_UNIX)")
    program.publish("1", body + ACCEPT)
    service = start(program.command, listen=(path,))
    assert ask(path) == "1"
    do_harm(service)
    message = f"no client can connect to {path}: it was shut down, which cannot be undone for a "
    wait.until(lambda: message in service.stderr, "the message")
    failed = service.reload()
    assert failed.code == 1
    assert f"{message}Unix socket; restart the service" in failed.stderr
    assert list(service.states()) == [1]


def test_a_socket_file_that_was_renamed(
    start: StartService, program: Program, folder: Path
) -> None:
    """No client finds it: a reload does not claim to have worked."""
    path = str(folder / "app.sock")
    body = f"accept(bound({path!r}, socket.AF_UNIX))\n"
    program.publish("1", body)
    service = start(program.command, listen=(path,))
    program.publish("2", body)
    assert service.reload().code == 0
    os.rename(path, f"{path}.old")
    failed = service.reload()
    assert failed.code == 1
    reason = "its socket file was removed, renamed or replaced; restart the service"
    assert f"no client can connect to {path}: {reason}" in failed.stderr
    os.rename(f"{path}.old", path)
    assert service.reload().code == 0, service.stderr
    assert ask(path) == "2"


TELLS = """
def serve(connection):
    with connection:
        facts = [connection.getsockopt(level, option) for level, option in ((6, 1), (1, 8), (1, 9))]
        connection.sendall(repr(facts).encode())
found = socket.socket()
found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
BEFORE
found.bind(("127.0.0.1", PORT))
found.listen()
AFTER
"""
NODELAY = "found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)"
RECEIVE = "found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 5000)"
KEEPALIVE = "found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)"


def publish_options(
    program: Program, before: str = "", after: str = "", end: str = "accept(found)"
) -> None:
    text = TELLS.replace("BEFORE", before).replace("AFTER", after)
    program.publish("1", f"{text}{end}\n")


def told(program: Program) -> str:
    with connect(("127.0.0.1", program.port)) as client:
        return read_all(client)


def test_each_release_has_its_own_options(start: StartService, program: Program) -> None:
    """Those of the last release are undone; those that a program sets later stay."""
    publish_options(program, RECEIVE, KEEPALIVE)
    service = start(program.command, listen=program.listen)
    assert told(program) == "[0, 10000, 1]"
    publish_options(program, "", NODELAY)
    assert service.reload().code == 0
    delay, receive, alive = json.loads(told(program))
    assert (delay, alive) == (1, 0)
    assert receive > 10000


def test_a_release_does_not_inherit_a_timeout(start: StartService, program: Program) -> None:
    """Else its accept(), which has to wait, fails at once."""
    harm = "found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('qq', 0, 1000))"
    publish_harmful(program, harm)
    service = start(program.command, listen=program.listen)
    do_harm(service)
    program.publish("2")
    assert service.reload().code == 0, service.stderr
    assert program.ask() == "2"
    program.publish("3")
    assert service.reload().code == 0, service.stderr


def test_a_release_that_fails_leaves_no_options(start: StartService, program: Program) -> None:
    publish_options(program, NODELAY, KEEPALIVE)
    service = start(program.command, listen=program.listen)
    before = told(program)
    assert (before[:2], before[-2:]) == ("[1", "1]")
    publish_options(program, RECEIVE, "", "sys.exit(3)")
    assert service.reload().code == 1
    assert told(program) == before


def test_options_are_put_back_as_they_were() -> None:
    with socket.socket() as sock, socket.socket() as new:
        before = sockopt.read(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 5000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 1, 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        assert sockopt.read(sock) != before
        sockopt.put_back(sock, before)
        assert sockopt.read(sock) == before == sockopt.read(new)


UDP_SEGMENT, UDP_GRO, UDP_ENCAP, TCP_SYNCNT, IPV6_RTHDR, SO_PEEK_OFF = 103, 104, 100, 7, 57, 42
ROUTE = bytes.fromhex("00 02 04 00 00000000") + socket.inet_pton(socket.AF_INET6, "2001:db8::1")


@pytest.mark.parametrize(
    ("kind", "level", "option", "value"),
    [
        (socket.SOCK_DGRAM, socket.IPPROTO_UDP, UDP_SEGMENT, 1),
        (socket.SOCK_DGRAM, socket.IPPROTO_UDP, UDP_GRO, 1),
        (socket.SOCK_DGRAM, socket.IPPROTO_UDP, UDP_ENCAP, 3),
        (socket.SOCK_DGRAM, socket.SOL_SOCKET, SO_PEEK_OFF, 9),
        (socket.SOCK_STREAM, socket.IPPROTO_TCP, TCP_SYNCNT, 1),
        (socket.SOCK_STREAM, socket.IPPROTO_IPV6, IPV6_RTHDR, ROUTE),
    ],
)
def test_every_option_is_undone(
    kind: socket.SocketKind, level: int, option: int, value: int | bytes
) -> None:
    """One that loses packets, or garbles them."""
    with socket.socket(socket.AF_INET6, kind) as sock:
        sock.bind(("::1", 0))
        listener = of_socket("x", sock, owned=False)
        before = sock.getsockopt(level, option, 64)
        sock.setsockopt(level, option, value)
        assert sock.getsockopt(level, option, 64) != before
        upkeep.undo_options(listener)
        sockopt.put_back(sock, listener.original)
        assert sock.getsockopt(level, option, 64) == before


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def test_a_connected_listener_keeps_its_address(family: socket.AddressFamily) -> None:
    host = "0.0.0.0" if family is socket.AF_INET else "::"
    with socket.socket(family) as sock, socket.socket(family) as peer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, wait.free_port()))
        sock.listen()
        listener = of_socket("x", sock, owned=False)
        peer.bind((host, 0))
        peer.listen()
        assert not upkeep.has_lost_clients(listener)
        sock.shutdown(socket.SHUT_RDWR)
        sock.connect(peer.getsockname())
        assert upkeep.has_lost_clients(listener)
        upkeep.listen_again(listener, 5)
        assert not upkeep.has_lost_clients(listener)
        assert of_socket("x", sock, owned=False).address == listener.address


def test_a_udp_listener_that_was_connected() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", wait.free_port()))
        listener = of_socket("x", sock, owned=False)
        sock.connect(("127.0.0.1", 9))
        assert upkeep.has_lost_clients(listener)
        upkeep.listen_again(listener, 0)
        assert not upkeep.has_lost_clients(listener)
        assert of_socket("x", sock, owned=False).address == listener.address
