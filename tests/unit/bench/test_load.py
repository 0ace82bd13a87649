"""The load client must count what a real client would suffer, once each, and nothing else."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from bench.clients import IdleFirstClient, UploadClient
from bench.exchange import Target
from bench.load import Kind, Load, Plan, ask, run
from bench.tally import Failure, Report, Tally
from tests.servers.apps import answers

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nversion 7\n"
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nversion 7\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def load(
    handler: Handler, load: Load, seconds: float = 0.15, context: ssl.SSLContext | None = None
) -> Tally:
    """What a load sees of a server with that handler, in TLS with a context."""
    prefix = "tls:" if context else ""

    async def main() -> Report:
        server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await run(Plan(f"{prefix}127.0.0.1:{port}", (load,), seconds), asyncio.Event())

    return asyncio.run(main()).total()


def answering(data: bytes, last: bytes = b"\r\n\r\n") -> Handler:
    """A server that reads a request, which ends so, sends these bytes, and closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(last)
        writer.write(data)
        await writer.drain()
        writer.close()

    return handler


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that aborts the connection after the first half of its answer."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK[:-4])
    await writer.drain()
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that reads and never answers."""
    await reader.read()
    writer.close()


def all_failed(tally: Tally) -> Failure | None:
    """The one kind by which every request failed, or None."""
    (failure,) = tally.failures
    return failure if tally.failures[failure] == tally.requests else None


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b"", Failure.EOF),
        (OK[:20], Failure.EOF),
        (OK[:-1], Failure.EOF),
        (CHUNKED + b"a\r\nversion 7\n\r\n", Failure.EOF),
        (OK.replace(b"200 OK", b"503 No"), Failure.WRONG),
        (OK.replace(b"version", b"Version"), Failure.WRONG),
        (b"HTTP/1.0 200 OK\r\n\r\nversion", Failure.WRONG),
        (b"go away\r\n\r\n", Failure.WRONG),
    ],
)
def test_a_bad_answer_is_counted_by_its_kind(data: bytes, failure: Failure) -> None:
    tally = load(answering(data), Load(Kind.NEW, 2, pause=0.01))
    assert tally.requests >= 2
    assert all_failed(tally) is failure
    assert tally.incidents


@pytest.mark.parametrize(
    "data",
    [
        OK,
        CLOSE,
        b"HTTP/1.0 200 OK\r\n\r\nversion 7\n",
        CHUNKED + b"a\r\nversion 7\n\r\n0\r\n\r\n",
    ],
)
def test_a_good_answer_names_its_version(data: bytes) -> None:
    tally = load(answering(data), Load(Kind.NEW, 2, pause=0.01))
    assert not tally.failures
    assert set(tally.versions) == {"7"}
    assert len(tally.seconds) == tally.requests == tally.versions["7"]


def test_a_reset_in_the_middle_of_an_answer() -> None:
    tally = load(resetting, Load(Kind.NEW, 2, pause=0.01))
    assert all_failed(tally) is Failure.RESET


def test_no_answer_is_a_timeout() -> None:
    tally = load(silent, Load(Kind.NEW, 1, timeout=0.05))
    assert all_failed(tally) is Failure.TIMEOUT


def test_a_stream_is_checked_line_by_line() -> None:
    whole = b"HTTP/1.0 200 OK\r\n\r\n" + answers.stream("7")
    assert not load(answering(whole), Load(Kind.STREAM, 1, pause=0.01)).failures
    missing = whole.replace(answers.line("7", 31), b"")
    assert all_failed(load(answering(missing), Load(Kind.STREAM, 1))) is Failure.WRONG
    mixed = whole.replace(answers.line("7", 31), answers.line("8", 31))
    assert all_failed(load(answering(mixed), Load(Kind.STREAM, 1))) is Failure.WRONG


def test_a_kept_connection_that_closes_unannounced_is_a_failure() -> None:
    tally = load(answering(OK), Load(Kind.KEEP_ALIVE, 1, pause=0.02))
    # Every other request meets the closed connection; it is not tried again.
    assert set(tally.failures) <= {Failure.EOF, Failure.RESET}
    assert 0 < sum(tally.failures.values()) <= tally.requests // 2 + 1
    assert tally.versions["7"] == tally.requests - sum(tally.failures.values())


def test_an_announced_close_is_no_failure() -> None:
    tally = load(answering(CLOSE), Load(Kind.KEEP_ALIVE, 1, pause=0.02), 1.0)
    assert tally.requests > 2
    assert not tally.failures


def test_a_kept_connection_is_reused() -> None:
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
        writer.close()

    tally = load(handler, Load(Kind.KEEP_ALIVE, 2, pause=0.005), 1.0)
    assert not tally.failures
    assert tally.requests > 2
    assert connections == 2


def test_a_client_that_idles_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IdleFirstClient, "idle_seconds", 0.05)
    idled: list[float] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()
        await reader.readuntil(b"\r\n\r\n")
        idled.append(time.monotonic() - began)
        writer.write(CLOSE)
        writer.close()

    assert not load(handler, Load(Kind.IDLE_FIRST, 1)).failures
    # The client's second begins before the server hears of the connection.
    assert max(idled) > 0.02
    closing = load(answering_nobody, Load(Kind.IDLE_FIRST, 1))
    assert set(closing.failures) <= {Failure.EOF, Failure.RESET}
    assert sum(closing.failures.values()) == closing.requests > 0


async def answering_nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that closes what it has accepted."""
    writer.close()


def receiving(answer: Callable[[int], bytes], limit: int = answers.UPLOAD_BYTES) -> Handler:
    """A server that reads so many bytes of a body, and answers."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = len(await reader.readexactly(limit))
        writer.write(answer(length))
        await writer.drain()
        writer.close()

    return handler


def test_an_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UploadClient, "sending_seconds", 0.2)

    def good(length: int) -> bytes:
        return b"HTTP/1.0 200 OK\r\n\r\n" + answers.upload("7", length)

    tally = load(receiving(good), Load(Kind.UPLOAD, 1))
    assert not tally.failures
    assert tally.versions["7"] == tally.requests > 0
    less = load(receiving(lambda length: good(length - 1)), Load(Kind.UPLOAD, 1))
    assert all_failed(less) is Failure.WRONG
    cut = load(receiving(lambda _: b"", answers.UPLOAD_BYTES // 4), Load(Kind.UPLOAD, 1))
    assert set(cut.failures) <= {Failure.EOF, Failure.RESET}
    assert sum(cut.failures.values()) == cut.requests > 0


def refused(target: str) -> Tally:
    """What a client of that target sees, which must be failures only."""
    plan = Plan(target, (Load(Kind.NEW, 1, timeout=0.2),), 0.05)
    return asyncio.run(run(plan, asyncio.Event())).total()


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        tally = refused(f"127.0.0.1:{unused.getsockname()[1]}")
    assert all_failed(tally) is Failure.REFUSED
    assert all_failed(refused(str(tmp_path / "none.sock"))) is Failure.REFUSED


def test_a_full_queue_of_a_unix_socket_refuses() -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind("")
        name = listener.getsockname()
        listener.listen(0)
        first.connect(name)
        assert all_failed(refused("@" + name[1:].decode())) is Failure.REFUSED


def test_a_lost_datagram_is_a_timeout() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{deaf.getsockname()[1]}"
        plan = Plan(target, (Load(Kind.DATAGRAM, 1, timeout=0.05),), 0.1)
        tally = asyncio.run(run(plan, asyncio.Event())).total()
    assert all_failed(tally) is Failure.TIMEOUT


def test_one_question_raises_what_went_wrong() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ConnectionRefusedError):
            asyncio.run(ask(target, Kind.NEW))


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.1:http", ":"])
def test_an_address_that_does_not_parse(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        Target.parse(text)


def test_addresses() -> None:
    assert Target.parse("[::1]:80") == Target(socket.AF_INET6, ("::1", 80))
    assert Target.parse("@name") == Target(socket.AF_UNIX, "\0name")
