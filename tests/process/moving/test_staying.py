"""Connections that do not move stay where they are, and none of them fails."""

from __future__ import annotations

import http.client
import ssl
import sys
from typing import TYPE_CHECKING

from tests.process.moving.conftest import UVICORN, process
from tests.process.moving.visitors import REQUEST
from tests.support import certificate, wait
from tests.support.kept_client import THREADS, Client

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.process.moving.conftest import Scene

# Speaks first, after a while, and echoes lines then.
GREETS = """
import asyncio, sys
async def serve(reader, writer):
    await asyncio.sleep(1)
    writer.write(b"220 hello\\r\\n")
    async for line in reader:
        writer.write(line)
    writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""

ACCEPTS = """
import sys
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_connection_that_a_thread_reads_ends_with_its_next_response(scene: Scene) -> None:
    scene.run((sys.executable, "-c", THREADS + ACCEPTS, "PORT"))
    client = scene.connect()
    assert not is_last(client)
    assert scene.service.reload().code == 0
    wait.until(lambda: is_last(client), "the end to be announced")
    assert client.recv(1) == b""


def test_tls(scene: Scene, folder: Path) -> None:
    pem = str(folder / "pem")
    certificate.make(pem)
    scene.run((*UVICORN, "--ssl-certfile", pem, "--ssl-keyfile", pem))
    context = ssl.create_default_context(cafile=pem)
    with context.wrap_socket(scene.connect(), server_hostname="localhost") as client:
        before = process(client)
        assert scene.service.reload().code == 0
        wait.until(lambda: process(client) == before and scene.moving()["parked"], "a parking")
        for _ in range(5):
            assert process(client) == before
        assert scene.moving()["moved"] == 0


def test_a_websocket(scene: Scene) -> None:
    scene.run()
    client = Client(scene.connect())
    client.upgrade()
    assert client.echo()
    assert scene.service.reload().code == 0
    for _ in range(5):
        wait.until(lambda: scene.moving()["parked"] or scene.moving()["to"], "a move")
        assert client.echo()
    assert scene.moving()["moved"] == 0
    client.close()


def test_a_stream_goes_on_while_its_connection_is_parked(scene: Scene) -> None:
    scene.run()
    client, before = scene.visitor()
    client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert client.recv(100)
    scene.reload()
    found = b""
    while b"0\r\n\r\n" not in found:
        data = client.recv(1000)
        assert data
        found += data
    assert scene.moving()["moved"] == 0
    # Not with the next request, perhaps: for all that is known, the client has sent that before the
    # end of the stream.
    wait.until(lambda: process(client) != before, "it to move")


def test_a_server_that_speaks_first(scene: Scene) -> None:
    scene.run((sys.executable, "-c", GREETS, "PORT"))
    with scene.connect() as client:
        scene.reload()
        lines = client.makefile("rb")
        assert lines.readline() == b"220 hello\r\n"
        for line in (b"EHLO localhost\r\n", b"QUIT\r\n"):
            client.sendall(line)
            assert lines.readline() == line
        lines.close()
        assert scene.moving()["moved"] == 0


def test_an_upload(scene: Scene) -> None:
    scene.run()
    client, before = scene.visitor()
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200\r\n\r\n"
    client.sendall(head + bytes(100))
    assert scene.service.reload().code == 0
    client.sendall(bytes(100))
    assert answered_by(client) == before
    assert scene.moving()["moved"] == 0


def is_last(client: socket.socket) -> bool:
    """Ask. Whether the answer announces the end of the connection."""
    client.sendall(REQUEST)
    response = http.client.HTTPResponse(client)
    response.begin()
    assert response.read() == b"ok"
    return response.will_close


def answered_by(client: socket.socket) -> int:
    response = http.client.HTTPResponse(client)
    response.begin()
    return int(response.read())
