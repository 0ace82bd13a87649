"""The clients of other protocols than plain HTTP count an answer that is cut short, once."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from bench.fastcgi import END, HEADER, STDIN, STDOUT
from bench.load import Kind, Load, Plan, run
from bench.tally import Failure
from tests.servers.apps import answers
from tests.support import certificate
from tests.unit.bench.test_load import OK, all_failed, answering, load

if TYPE_CHECKING:
    from pathlib import Path

    from websockets.asyncio.server import ServerConnection

    from bench.tally import Tally

SECONDS = 0.15
CGI = b"Content-type: text/plain\r\n\r\n"


def test_server_sent_events_are_checked_one_by_one() -> None:
    whole = b"HTTP/1.0 200 OK\r\n\r\n" + answers.events("7")
    assert set(load(answering(whole), Load(Kind.EVENTS, 1, pause=0.01)).versions) == {"7"}
    missing = whole.replace(answers.event("7", 2), b"")
    assert all_failed(load(answering(missing), Load(Kind.EVENTS, 1))) is Failure.WRONG
    cut = whole.replace(b" OK\r\n", b" OK\r\nContent-Length: 999\r\n")
    assert all_failed(load(answering(cut), Load(Kind.EVENTS, 1))) is Failure.EOF


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_tls(folder: Path) -> None:
    path = str(folder / "certificate.pem")
    certificate.make(path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    late = Load(Kind.IDLE_FIRST, 1, silence=0.01)
    assert set(load(answering(OK), late, context=context).versions) == {"7"}
    assert all_failed(load(answering(OK[:-1]), late, context=context)) is Failure.EOF
    assert all_failed(load(answering(b""), late, context=context)) is Failure.EOF


def record(kind: int, content: bytes) -> bytes:
    """One of FastCGI's, with padding."""
    return HEADER.pack(1, kind, 1, len(content), 3) + content + bytes(3)


def test_fastcgi() -> None:
    last = HEADER.pack(1, STDIN, 1, 0, 0)
    body = record(STDOUT, CGI + b"version") + record(STDOUT, b" 7\n")
    short = Load(Kind.FASTCGI, 1, pause=0.01)
    good = body + record(END, bytes(8))
    assert set(load(answering(good, last), short).versions) == {"7"}
    assert all_failed(load(answering(body, last), short)) is Failure.EOF
    failed = record(STDOUT, b"Status: 500 Internal Server Error\r\n" + CGI) + record(END, bytes(8))
    assert all_failed(load(answering(failed, last), short)) is Failure.WRONG


@pytest.mark.parametrize("messages", [1, 2])
def test_a_websocket_that_ends_in_its_silence_is_a_failure(messages: int) -> None:
    # The packages are built without the libraries of these clients.
    pytest.importorskip("websockets.asyncio")
    from websockets.asyncio.server import serve

    async def handler(connection: ServerConnection) -> None:
        for _ in range(messages):
            await connection.recv()
            await connection.send("version 7\n")

    async def main() -> Tally:
        async with serve(handler, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            loads = (Load(Kind.WEBSOCKET, 1, silence=0.01),)
            return (await run(Plan(f"127.0.0.1:{port}", loads, SECONDS), asyncio.Event())).total()

    tally = asyncio.run(main())
    if messages == 1:
        assert all_failed(tally) is Failure.EOF
    else:
        assert not tally.failures
        assert set(tally.versions) == {"7"}


def test_a_call_without_a_server_is_refused() -> None:
    pytest.importorskip("grpc")
    with socket.socket() as bound:  # It does not listen.
        bound.bind(("127.0.0.1", 0))
        plan = Plan(f"127.0.0.1:{bound.getsockname()[1]}", (Load(Kind.RPC, 1),), SECONDS)
        tally = asyncio.run(run(plan, asyncio.Event())).total()
    assert all_failed(tally) is Failure.REFUSED
