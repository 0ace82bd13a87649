"""The wrapped program: an HTTP server, and beside it a process that sends what a fuzzer asks for.

    program.py PORT [SOCKET KIND SEED [PATH]]

The process connects to SOCKET. For each line with a number it sends so many messages of the KIND,
and answers `done`. The program also listens at PATH, a Unix socket.
"""

from __future__ import annotations

import http.server
import os
import random
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz import senders

ARGUMENTS = 3


class _Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: the output of the service is looked through."""


def attack(port: int, path: str, kind: str, seed: str, listener: str) -> None:
    """Send what is asked for, until nobody asks."""
    sender = senders.SENDERS[kind](random.Random(f"{kind} {seed}"), port, listener)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        with sock.makefile() as lines:
            for line in lines:
                sender.send(int(line))
                sock.sendall(b"done\n")


def main() -> None:
    """Serve."""
    port, arguments = int(sys.argv[1]), sys.argv[2:]
    listener = arguments[ARGUMENTS] if len(arguments) > ARGUMENTS else ""
    # Before it has the listener: a process that only sends does not accept.
    if arguments and os.fork() == 0:
        path, kind, seed = arguments[:ARGUMENTS]
        attack(port, path, kind, seed, listener)
        os._exit(0)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _Pages)
    if listener:
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(listener)
        unix.listen()
        threading.Thread(target=_accept, args=(unix,), daemon=True).start()
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", address.replace("@", "\0", 1))
    server.serve_forever()


def _accept(listener: socket.socket) -> None:
    while True:
        listener.accept()[0].close()


if __name__ == "__main__":
    main()
