"""An HTTP/2 client that keeps its connection. h2 goes on reading after a GOAWAY."""

from __future__ import annotations

import socket
from typing import Any

import h2.config
import h2.connection
import h2.events

_LARGEST = 65536


class _Connection(h2.connection.H2Connection):
    """h2 itself refuses every frame after a GOAWAY, unlike most clients."""

    def __init__(self) -> None:
        super().__init__(h2.config.H2Configuration(client_side=True))
        self.goaways: list[tuple[int, int]] = []

    def _receive_goaway_frame(self, frame: Any) -> tuple[list[Any], list[Any]]:
        self.goaways.append((frame.last_stream_id, frame.error_code))
        return [], []


class Client:
    """Raises an error for a response that is not complete and correct."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._h2 = _Connection()
        self._h2.initiate_connection()
        self._bodies: dict[int, bytes] = {}
        self._ended: set[int] = set()

    def close(self) -> None:
        self._socket.close()

    @property
    def goaways(self) -> list[tuple[int, int]]:
        """The GOAWAYs that were read: last stream, error."""
        return self._h2.goaways

    def begin(self) -> int:
        """Send a request except for its last byte; returns its stream."""
        stream = self._h2.get_next_available_stream_id()
        method, target = ((":method", "POST"), (":path", "/"))
        self._h2.send_headers(
            stream,
            [method, (":scheme", "http"), (":authority", "test"), target, ("content-length", "2")],
        )
        self._h2.send_data(stream, b"x")
        self._bodies[stream] = b""
        self._send()
        return stream

    def finish(self, stream: int) -> None:
        """Send the last byte and read the answer."""
        self._h2.send_data(stream, b"y", end_stream=True)
        self._send()
        while stream not in self._ended:
            self._read()
        assert self._bodies.pop(stream) == b"ok"

    def ask(self) -> None:
        self.finish(self.begin())

    def wait_for_goaway(self) -> None:
        while not self.goaways:
            self._read()

    def _send(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def _read(self) -> None:
        data = self._socket.recv(_LARGEST)
        assert data, "the connection ended without an announcement"
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self._bodies[event.stream_id] += event.data
            elif isinstance(event, h2.events.StreamEnded):
                self._ended.add(event.stream_id)
            else:
                assert not isinstance(event, h2.events.StreamReset)
        self._send()
