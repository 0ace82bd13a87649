"""A single-threaded select() loop with a blocking listener; the line protocol of asyncio_server.

python -m tests.servers.apps.select_loop 127.0.0.1 8000
"""

from __future__ import annotations

import select
import socket
import sys
import time

from tests.servers.apps import answers

VERSION = answers.release()


def parts(command: bytes, now: float) -> list[tuple[float, bytes]]:
    """The parts of an answer, and when each is due."""
    if command == b"stream\n":
        numbers = range(answers.LINES)
        return [
            (now + number * answers.LINE_PAUSE, answers.line(VERSION, number + 1))
            for number in numbers
        ]
    return [(now + answers.SLOW_SECONDS * (command == b"slow\n"), answers.fast(VERSION))]


def main(host: str, port: int) -> None:
    """Serve for ever."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(64)
    asking: list[socket.socket] = []
    answering: dict[socket.socket, list[tuple[float, bytes]]] = {}
    while True:
        due = min((rest[0][0] for rest in answering.values()), default=None)
        timeout = None if due is None else max(0.0, due - time.monotonic())
        for ready in select.select([listener, *asking], [], [], timeout)[0]:
            if ready is listener:
                asking.append(listener.accept()[0])
                continue
            asking.remove(ready)
            if command := ready.recv(100):
                answering[ready] = parts(command, time.monotonic())
            else:
                ready.close()
        for connection, rest in [*answering.items()]:
            while rest and rest[0][0] <= time.monotonic():
                connection.sendall(rest.pop(0)[1])
            if not rest:
                del answering[connection]
                connection.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
