"""A server as one writes it to learn sockets: a blocking accept() in a loop.

python -m tests.servers.apps.accept_loop 127.0.0.1 8000 [threads]
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time

from tests.servers.apps import answers

VERSION = answers.release()
HEAD = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n"


def answer(connection: socket.socket) -> None:
    """Read one request, answer it, close."""
    with connection:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(4096)
            if not more:
                return
            data += more
        head, _, begun = data.partition(b"\r\n\r\n")
        path = head.split()[1]
        if path == b"/slow":
            time.sleep(answers.SLOW_SECONDS)
        if path == b"/stream":
            stream(connection)
            return
        body = answers.fast(VERSION)
        if path == b"/upload":
            body = answers.upload(VERSION, received(connection, head, len(begun)))
        connection.sendall(HEAD % len(body) + body)


def received(connection: socket.socket, head: bytes, length: int) -> int:
    """Read the rest of a body of which `length` bytes have come; gives how many came."""
    match = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    wanted = int(match[1]) if match else 0
    while length < wanted and (data := connection.recv(1 << 16)):
        length += len(data)
    return length


def stream(connection: socket.socket) -> None:
    """The streamed answer."""
    connection.sendall(HEAD % len(answers.stream(VERSION)))
    for number in range(1, answers.LINES + 1):
        connection.sendall(answers.line(VERSION, number))
        time.sleep(answers.LINE_PAUSE)


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
