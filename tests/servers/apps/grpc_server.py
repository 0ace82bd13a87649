"""gRPC with threads or with asyncio, and the graceful stop that gRPC's examples show.

python -m tests.servers.apps.grpc_server 127.0.0.1 50051 [aio]
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc

from tests.servers.apps import answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

VERSION = answers.release()
# Calls have so many seconds to finish after SIGTERM.
GRACE = 30.0


def fast(request: bytes, context: object) -> Iterator[bytes]:
    """The short answer."""
    yield answers.fast(VERSION)


def slow(request: bytes, context: object) -> Iterator[bytes]:
    """The answer after 2 s."""
    time.sleep(answers.SLOW_SECONDS)
    yield answers.fast(VERSION)


def stream(request: bytes, context: object) -> Iterator[bytes]:
    """The answers over 5 s."""
    for number in range(1, answers.LINES + 1):
        yield answers.line(VERSION, number)
        time.sleep(answers.LINE_PAUSE)


async def fast_async(request: bytes, context: object) -> AsyncIterator[bytes]:
    """As `fast`."""
    yield answers.fast(VERSION)


async def slow_async(request: bytes, context: object) -> AsyncIterator[bytes]:
    """As `slow`."""
    await asyncio.sleep(answers.SLOW_SECONDS)
    yield answers.fast(VERSION)


async def stream_async(request: bytes, context: object) -> AsyncIterator[bytes]:
    """As `stream`."""
    for number in range(1, answers.LINES + 1):
        yield answers.line(VERSION, number)
        await asyncio.sleep(answers.LINE_PAUSE)


def handlers(*methods: Any) -> tuple[grpc.GenericRpcHandler]:
    """The methods Fast, Slow and Stream, without protobuf."""
    named = zip(("Fast", "Slow", "Stream"), methods, strict=True)
    found: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        name: grpc.unary_stream_rpc_method_handler(method) for name, method in named
    }
    return (grpc.method_handlers_generic_handler("zoo.Zoo", found),)


def serve(address: str) -> None:
    """Serve in threads, until SIGTERM."""
    server = grpc.server(ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers(handlers(fast, slow, stream))
    server.add_insecure_port(address)
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(GRACE))
    server.wait_for_termination()


async def serve_async(address: str) -> None:
    """Serve in asyncio, until SIGTERM."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers(fast_async, slow_async, stream_async))
    server.add_insecure_port(address)
    await server.start()
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()
    await server.stop(GRACE)


if __name__ == "__main__":
    where = f"{sys.argv[1]}:{sys.argv[2]}"
    if sys.argv[3:] == ["aio"]:
        asyncio.run(serve_async(where))
    else:
        serve(where)
