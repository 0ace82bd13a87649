"""A server with many processes or many listeners, each as plain as accept_loop.py.

python -m tests.servers.apps.crowd workers 127.0.0.1 8000 500
python -m tests.servers.apps.crowd listeners 127.0.0.1 8000 64
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys

from tests.servers.apps.accept_loop import answer


def bound(host: str, port: int) -> socket.socket:
    """A listener."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(1024)
    return listener


def workers(host: str, port: int, count: int) -> None:
    """So many processes, each blocked in accept()."""
    listener = bound(host, port)
    for _ in range(count):
        if os.fork() == 0:
            while True:
                answer(listener.accept()[0])
    listener.close()
    while True:
        signal.pause()


def listeners(host: str, port: int, count: int) -> None:
    """So many listeners, from this port on, in one epoll instance."""
    with selectors.DefaultSelector() as selector:
        for number in range(count):
            listener = bound(host, port + number)
            listener.setblocking(False)
            selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                try:
                    connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
                except BlockingIOError:
                    continue
                connection.setblocking(True)
                answer(connection)


if __name__ == "__main__":
    {"workers": workers, "listeners": listeners}[sys.argv[1]](
        sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    )
