"""The announcement of the end of one TCP socket among many."""

from __future__ import annotations

import os
import socket

import pytest

from sockact.kernel.sockets import sock_diag
from sockact.kernel.sockets.tcp_destroy import Destroyed
from tests.support import wait

COOKIE_AT = 60
SO_COOKIE = 57


def connection(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(listener.getsockname()[:2])
    return client, listener.accept()[0]


def identity(server: socket.socket) -> bytes:
    inode, port = os.fstat(server.fileno()).st_ino, server.getsockname()[1]
    found = sock_diag.tcp_connections(server.family, port, {inode})
    return next(c.identity for c in found if c.inode == inode)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("first", ["client", "server"])
def test_only_the_watched_socket_is_announced(host: str, first: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        destroyed = Destroyed(family)
        reader = socket.socket(fileno=os.dup(destroyed.fileno()))
        try:
            pairs = [connection(listener) for _ in range(5)]
            last = pairs.pop()
            cookie = last[1].getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8)
            for end in pairs.pop():  # no socket is watched yet
                end.close()
            name = identity(last[1])
            destroyed.wait_for(name)
            assert name.endswith(cookie)
            for pair in pairs:
                for end in pair:
                    end.close()
            for end in last if first == "client" else reversed(last):
                end.close()
            assert wait.readable(destroyed.fileno())
            heard = reader.recv(4096)
            assert heard[COOKIE_AT : COOKIE_AT + 8] == cookie
            destroyed.clear()
            assert not wait.readable(destroyed.fileno(), timeout=0)
        finally:
            reader.close()
            destroyed.close()


def test_clearing_without_messages_does_nothing() -> None:
    destroyed = Destroyed(socket.AF_INET)
    destroyed.clear()
    destroyed.close()
