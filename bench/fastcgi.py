"""The clients of a load that speak FastCGI to a PHP server, as nginx does: one connection each."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from bench.clients import Client, version_of
from bench.exchange import Answer, Failed
from bench.tally import Failure
from tests.servers.commands import APPS_FOLDER

if TYPE_CHECKING:
    from bench.wire import Wire

# Version, type, request, length, padding; the types are those of the specification.
HEADER = struct.Struct("!BBHHBx")
BEGIN, END, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6
RESPONDER = struct.pack("!HB5x", 1, 0)
CHUNK = 1 << 16


class FastCgiClient(Client):
    """Short requests."""

    query = "fast"
    body = "fast"

    async def once(self) -> str:
        wire = await self.target.open()
        try:
            await wire.send(request(self.query))
            answer = await receive(wire)
        finally:
            wire.close()
        return version_of(answer, self.body)


class FastCgiSlowClient(FastCgiClient):
    """Requests that are answered after 2 s."""

    long = True
    query = "slow"


class FastCgiStreamClient(FastCgiClient):
    """Answers over 5 s; every line is checked."""

    long = True
    query, body = "stream", "stream"


def request(query: str) -> bytes:
    """A GET of app.php, after which the server is to close the connection."""
    params = {
        "SCRIPT_FILENAME": str(APPS_FOLDER / "app.php"),
        "REQUEST_METHOD": "GET",
        "QUERY_STRING": query,
    }
    words = b"".join(_pair(*pair) for pair in params.items())
    records = ((BEGIN, RESPONDER), (PARAMS, words), (PARAMS, b""), (STDIN, b""))
    return b"".join(HEADER.pack(1, kind, 1, len(data), 0) + data for kind, data in records)


def _pair(name: str, text: str) -> bytes:
    return struct.pack("!BL", len(name), len(text) | 1 << 31) + name.encode() + text.encode()


async def receive(wire: Wire) -> Answer:
    """The whole answer. Raises OSError or Failed."""
    data, output = b"", b""
    while True:
        while len(data) >= HEADER.size:
            _, kind, _, length, padding = HEADER.unpack_from(data)
            end = HEADER.size + length + padding
            if len(data) < end:
                break
            content, data = data[HEADER.size : HEADER.size + length], data[end:]
            if kind == STDOUT:
                output += content
            elif kind == END:
                head, _, body = output.partition(b"\r\n\r\n")
                return Answer(500 if head.startswith(b"Status:") else 200, body, reusable=False)
        received = await wire.receive(CHUNK)
        if not received:
            raise Failed(Failure.EOF, f"closed after {len(output)} bytes of the answer")
        data += received
