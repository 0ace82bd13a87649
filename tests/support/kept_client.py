"""Clients that keep their connection and check how it ends."""

from __future__ import annotations

import base64
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A server for them, as `Handler` and `ThreadingHTTPServer`: its threads wait in recv.
THREADS = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
"""
_LARGE = 200_000
_TEXT = 0x81
_MASKED = 0x80
_CLOSE = 0x88


class Client:
    """Over HTTP/1.1. Raises an error for a response that is not complete and correct."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = connection.makefile("rb")

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def begin(self, path: str = "/") -> None:
        """Send a request except for its last byte."""
        head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n"
        self._socket.sendall(head.encode() + b"x")

    def begin_early(self) -> bool:
        """The same, and read half of the answer. Whether that is to end the connection."""
        self.begin("/early")
        last = self._head()
        assert self._answers.read(1) == b"o"
        return last

    def finish_early(self) -> None:
        self._socket.sendall(b"y")
        assert self._answers.read(1) == b"k"

    def finish(self) -> bool:
        """Send the last byte. Whether the answer is to end the connection."""
        self._socket.sendall(b"y")
        last = self._head()
        assert self._answers.read(2) == b"ok"
        return last

    def refused(self) -> bool:
        """Ask with a large body that nobody reads. Whether the answer is to end the connection."""
        head = f"POST /refuse HTTP/1.1\r\nHost: test\r\nContent-Length: {_LARGE}\r\n\r\n"
        self._socket.sendall(head.encode() + bytes(_LARGE))
        last = self._head()
        assert self._answers.read(2) == b"ok"
        return last

    def ask(self) -> bool:
        self.begin()
        return self.finish()

    def at_end(self) -> bool:
        """Whether the server closed the connection, with no byte too many. Closes it here too."""
        end = self._answers.read(1) == b""
        self.close()  # as clients do; gunicorn's main thread waits for it
        return end

    def upgrade(self) -> None:
        """Become a WebSocket."""
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        self._socket.sendall(head.encode())
        assert self._status() == b"101"
        assert dict(self._headers())[b"connection"] == b"upgrade"

    def echo(self) -> bool:
        """Whether the WebSocket gives back what it is sent (RFC 6455, section 5.2)."""
        self._socket.sendall(bytes([_TEXT, _MASKED | 2]) + bytes(4) + b"hi")
        return self._answers.read(4) == bytes([_TEXT, 2]) + b"hi"

    def closed(self) -> int:
        """Wait until the WebSocket is closed, and agree. Returns the status that it is given."""
        first = self._answers.read(2)
        assert first == bytes([_CLOSE, 2]), first
        status = self._answers.read(2)
        self._socket.sendall(bytes([_CLOSE, _MASKED | 2]) + bytes(4) + status)
        return int.from_bytes(status, "big")

    def _head(self) -> bool:
        status = self._status()
        headers = list(self._headers())
        assert status == b"200", (status, headers)
        connection = [value for name, value in headers if name == b"connection"]
        assert connection in ([], [b"keep-alive"], [b"close"])
        return connection == [b"close"]

    def _status(self) -> bytes:
        line = self._answers.readline().split()
        assert line[:1] == [b"HTTP/1.1"], "the connection ended without an announcement"
        return line[1]

    def _headers(self) -> Iterator[tuple[bytes, bytes]]:
        for line in iter(self._answers.readline, b"\r\n"):
            name, _, value = line.partition(b":")
            yield name.lower(), value.strip().lower()
