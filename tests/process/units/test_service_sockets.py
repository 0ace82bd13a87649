"""Listening beside a program that already listens, and taking over its new connections."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.cli.setup.outcome import describe
from sockact.core.matching import Address, Family, Kind
from sockact.units import listening_sockets
from sockact.units.wrap import outage as outage_module
from sockact.units.wrap.outage import Outage, Outcome, Refusals, can_connect
from sockact.units.wrap.service_sockets import ServiceSockets
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Sends its name to each client, and nothing else.
SERVER = """
import os, socket, sys
host = sys.argv[1]
family, kind, port, owner = map(int, sys.argv[2:])
os.seteuid(owner)
found = socket.socket(family, kind)
if host.startswith("/"):
    found.bind(host)
else:
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, bool(port))
    found.bind((host, port))
if found.type == socket.SOCK_STREAM:
    found.listen()
print(found.getsockname()[1] if host[0] != "/" else 0, flush=True)
while True:
    if found.type == socket.SOCK_STREAM:
        found.accept()[0].send(b"old")
    else:
        found.sendto(b"old", found.recvfrom(9)[1])
"""
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
NOBODY = 65534
IPV4, IPV6 = socket.AF_INET, socket.AF_INET6


@contextlib.contextmanager
def serving(
    family: int, kind: int, host: str, port: int = 0, owner: int = 0
) -> Iterator[tuple[int, listening_sockets.Bound]]:
    """Its port, and what is found of it."""
    numbers = [str(int(number)) for number in (family, kind, port, owner)]
    words = [sys.executable, "-c", SERVER, host, *numbers]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            (found,) = listening_sockets.find_bound([server.pid])
            yield port, found
        finally:
            server.kill()


def ask(family: int, kind: int, host: str, port: int) -> str:
    """The name of the program that answers; "" if none does yet."""
    with socket.socket(family, kind) as client:
        client.settimeout(0.3)
        client.connect((host, port))
        if kind == UDP:
            client.send(b"?")
        try:
            return client.recv(9).decode()
        except TimeoutError:
            return ""


@pytest.mark.parametrize("kind", [TCP, UDP], ids=["tcp", "udp"])
@pytest.mark.parametrize(
    ("family", "host", "to"),
    [(IPV4, "127.0.0.1", "127.0.0.1"), (IPV4, "0.0.0.0", "127.0.0.1"), (IPV6, "::", "::1")],
)
def test_taking_over(family: int, kind: int, host: str, to: str) -> None:
    with serving(family, kind, host) as (port, found), socket.socket(family, kind) as new:
        kinds = {TCP: Kind.STREAM, UDP: Kind.DATAGRAM}
        assert (found.address.host, found.address.port) == (host, port)
        assert (found.address.kind, found.address.family.name) == (
            kinds[socket.SocketKind(kind)],
            "INET6" if family == IPV6 else "INET",
        )
        assert listening_sockets.is_private(found.address)
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with Outage([found.address]) as outage, ServiceSockets([found]) as sockets:
            with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
                new.bind((host, port))
            sockets.share()
            new.bind((host, port))
            if kind == TCP:
                new.listen()
            sockets.keep_connections()
            assert {ask(family, kind, to, port) for _ in range(8)} == {"old"}
            sockets.pass_connections()
            assert ask(family, kind, to, port) == ""
            os.kill(found.pid, 9)
            assert wait.ended(found.pid)
            assert ask(family, kind, to, port) == ""
        # The old socket is gone, and the way to the new one with it.
        assert ask(family, kind, to, port) == ""
        assert outage.seconds == 0.0
        assert len(waiting(new)) == 3


def waiting(listener: socket.socket) -> list[object]:
    """The connections that reached it."""
    listener.setblocking(False)
    found: list[object] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            if listener.type == TCP:
                accepted, address = listener.accept()
                accepted.close()
                found.append(address)
            else:
                found.append(listener.recvfrom(9)[1])
    return found


def test_taking_it_back() -> None:
    with (
        serving(IPV4, TCP, "127.0.0.1", owner=NOBODY) as (port, found),
        ServiceSockets([found]) as sockets,
        listening_sockets.duplicate(found) as own,
    ):
        assert os.fstat(own.fileno()).st_uid == NOBODY
        sockets.share()
        assert os.fstat(own.fileno()).st_uid == os.geteuid()
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        sockets.unshare()
        assert os.fstat(own.fileno()).st_uid == NOBODY
        assert not own.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        with socket.socket() as new:
            new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
                new.bind(("127.0.0.1", port))


def test_no_connection_goes_to_a_socket_that_is_opened_beside() -> None:
    """Not even before it can be told to the kernel."""
    with serving(IPV4, TCP, "127.0.0.1") as (port, found), ServiceSockets([found]) as sockets:
        sockets.share()
        sockets.hold_connections()
        with socket.socket() as new:
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                new.setsockopt(socket.SOL_SOCKET, option, 1)
            new.bind(("127.0.0.1", port))
            new.listen()
            assert {ask(IPV4, TCP, "127.0.0.1", port) for _ in range(16)} == {"old"}
            assert waiting(new) == []


def test_several_old_sockets() -> None:
    """When the first of them closes, the others get no connections: they close soon, too."""
    port = wait.free_port()
    with contextlib.ExitStack() as stack:
        old = [stack.enter_context(serving(IPV4, TCP, "127.0.0.1", port))[1] for _ in range(3)]
        sockets = stack.enter_context(ServiceSockets(old))
        new = stack.enter_context(socket.socket())
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sockets.share()
        new.bind(("127.0.0.1", port))
        new.listen()
        sockets.keep_connections()
        assert {ask(IPV4, TCP, "127.0.0.1", port) for _ in range(8)} == {"old"}
        assert sockets.pass_connections()
        sockets.close()
        os.kill(old[0].pid, 9)
        assert wait.ended(old[0].pid)
        clients = [stack.enter_context(socket.socket()) for _ in range(40)]
        for client in clients:
            client.setblocking(False)
            assert client.connect_ex(("127.0.0.1", port)) == errno.EINPROGRESS
        for one in old[1:]:
            os.kill(one.pid, 9)
            assert wait.ended(one.pid)
        assert all(wait.writable(client.fileno(), 20) for client in clients)
        assert len(waiting(new)) == len(clients)


def test_several_old_sockets_again() -> None:
    """The filter that drops new connections is removed again."""
    port = wait.free_port()
    with contextlib.ExitStack() as stack:
        old = [stack.enter_context(serving(IPV4, TCP, "127.0.0.1", port))[1] for _ in range(2)]
        sockets = stack.enter_context(ServiceSockets(old))
        sockets.share()
        assert sockets.pass_connections()
        sockets.unshare()
        assert {ask(IPV4, TCP, "127.0.0.1", port) for _ in range(8)} == {"old"}


def test_a_client_that_is_never_accepted() -> None:
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind(("127.0.0.1", 0))
        own.listen()
        (found,) = [
            one for one in listening_sockets.find_bound([os.getpid()]) if one.fd == own.fileno()
        ]
        with (
            ServiceSockets([found]) as sockets,
            socket.create_connection(own.getsockname()),
            socket.socket() as new,
        ):
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                new.setsockopt(socket.SOL_SOCKET, option, 1)
            sockets.share()
            new.bind(own.getsockname())
            new.listen()
            assert not sockets.pass_connections()
    assert describe(Outcome(0.0, 1.0, cut_off=True)).startswith(
        "connections waiting in the old queue "
    )
    both = describe(Outcome(0.5, 1.0, cut_off=True, retried=True))
    assert both.startswith("connections were refused for 0.50 s; ")
    assert "may have been cut off; new connections waited up to 1.00 s (TCP tries" in both
    rough = describe(Outcome(0.5, 1.0, unsure=0.3))
    assert rough.startswith("connections were refused for 0.50 s, give or take 0.30 s; ")


def test_admitting_no_more() -> None:
    with serving(IPV4, TCP, "127.0.0.1") as (port, found):
        with ServiceSockets([found]) as sockets, socket.socket() as client:
            sockets.admit_no_more()
            client.setblocking(False)
            assert client.connect_ex(("127.0.0.1", port)) == errno.EINPROGRESS
            assert not wait.writable(client.fileno(), 0.3)
            sockets.admit_again()
            # It has tried again by itself.
            assert wait.writable(client.fileno(), 10)
            assert wait.readable(client.fileno())
            assert client.recv(9) == b"old"


def test_what_cannot_be_shared(folder: Path) -> None:
    path = str(folder / "x.sock")
    with serving(socket.AF_UNIX, TCP, path) as (_, found):
        assert (found.address.family, found.address.host) == (Family.UNIX, path)
        with pytest.raises(OSError, match="cannot be shared"):
            ServiceSockets([found])


def test_a_socket_that_was_replaced() -> None:
    with serving(IPV4, TCP, "127.0.0.1") as (_, found):
        other = listening_sockets.Bound(found.address, found.inode + 1, found.pid, found.fd)
        with pytest.raises(OSError, match="another socket"):
            ServiceSockets([other])


def test_an_outage_is_measured() -> None:
    with serving(IPV4, TCP, "127.0.0.1") as (_, found):
        with Outage([found.address]) as outage:
            os.kill(found.pid, 9)
            assert wait.ended(found.pid)
            wait.until(lambda: bool(outage.seconds), "the outage to be seen")
        assert 0 < outage.unsure <= (outage.seconds or 0)


def test_a_look_that_takes_long() -> None:
    """Its result is that of a moment while it lasts, and not of its end."""
    refusals = Refusals()
    for began, ended, free in ((8, 8, False), (9, 9, True), (10, 30, True), (31, 31, False)):
        refusals.look(began, ended, free=free)
    assert refusals.seconds == (10 + 31) / 2 - (8 + 9) / 2
    assert refusals.unsure == (31 - 10) / 2 + (9 - 8) / 2


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("strange")])
def test_an_outage_that_cannot_be_measured(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is not reported as zero."""

    def fail(_address: object) -> bool:
        raise error

    with serving(IPV4, TCP, "127.0.0.1") as (_, found):
        monkeypatch.setattr(outage_module, "is_in_use", fail)
        with Outage([found.address]) as outage:
            wait.until(lambda: outage.seconds is None, "the failure to be seen")
        assert "could not be measured" in describe(Outcome(outage.seconds))


def test_a_socket_file_is_asked_by_its_path(folder: Path) -> None:
    """Without its file, a socket that still listens answers nobody."""
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(path))
        own.listen()
        assert can_connect(str(path))
        with Outage([Address(Family.UNIX, Kind.STREAM, str(path))]) as outage:
            path.unlink()
            wait.until(lambda: bool(outage.seconds), "clients to be refused")
        assert not can_connect(str(path))


ELSEWHERE = """
import socket
found = socket.create_server(("0.0.0.0", 22))
print(flush=True)
found.accept()
"""


def test_sockets_of_another_network_are_not_found() -> None:
    """Which anybody can make, and listen on any port there."""
    words = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", ELSEWHERE]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout
            if not server.stdout.readline():
                pytest.skip("this machine allows no user namespaces")
            assert listening_sockets.find_bound([server.pid]) == []
        finally:
            server.kill()
