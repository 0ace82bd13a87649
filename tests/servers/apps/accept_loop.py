"""A server as one writes it to learn sockets: a blocking accept() in a loop.

python -m tests.servers.apps.accept_loop 127.0.0.1 8000 [threads]
"""

from __future__ import annotations

import socket
import sys
import threading
import time

from tests.servers.apps import answers

VERSION = answers.release()


def answer(connection: socket.socket) -> None:
    """Read one request's head, answer it, close."""
    with connection:
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(4096)
            if not data:
                return
            head += data
        path = head.split()[1]
        if path == b"/slow":
            time.sleep(answers.SLOW_SECONDS)
        lines = answers.LINES if path == b"/stream" else 0
        length = len(answers.stream(VERSION) if lines else answers.fast(VERSION))
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        for number in range(1, lines + 1):
            connection.sendall(answers.line(VERSION, number))
            time.sleep(answers.LINE_PAUSE)
        if not lines:
            connection.sendall(answers.fast(VERSION))


def main(host: str, port: int, threads: bool) -> None:
    """Serve for ever, one connection at a time or a thread for each."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(100)
    while True:
        connection, _ = listener.accept()
        if threads:
            threading.Thread(target=answer, args=(connection,)).start()
        else:
            answer(connection)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "threads" in sys.argv[3:])
