"""Options that a program sets on its own socket before bind hold for the connections it accepts."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.kernel.sockets import sockopt
from tests.support import wait

if TYPE_CHECKING:
    from tests.conftest import StartService

SERVER = """
import socket, sys
own = socket.socket()
own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50000)
own.bind(("127.0.0.1", int(sys.argv[1])))
own.listen()
while True:
    found = own.accept()[0]
    facts = [
        found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
        found.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    ]
    found.sendall(repr(facts).encode())
    found.close()
"""


@pytest.mark.parametrize("adopt", ["seccomp", "shim"])
def test_options_are_carried(adopt: str, start: StartService) -> None:
    port = wait.free_port()
    start(
        [sys.executable, "-c", SERVER, str(port)],
        listen=(f"127.0.0.1:{port}",),
        options=("--adopt", adopt),
    )
    with socket.create_connection(("127.0.0.1", port), timeout=wait.TIMEOUT) as client:
        assert client.recv(99) == b"[1, 100000, 0]"


def test_what_the_program_left_alone_stays() -> None:
    with socket.socket() as own, socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\5\0\0\0")
        sockopt.change(listener, sockopt.changed(own))
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)[4] == 5


def test_other_families_have_other_options() -> None:
    with socket.socket(socket.AF_UNIX) as own, socket.socket(socket.AF_UNIX) as listener:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 40000)
        sockopt.change(listener, sockopt.changed(own))
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 80000
