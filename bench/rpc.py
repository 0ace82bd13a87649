"""The clients of a load that make gRPC calls. No call is made again, by the library neither."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bench.clients import Client, version_of
from bench.exchange import Answer, Failed, Target
from bench.tally import Failure

if TYPE_CHECKING:
    import grpc.aio

# Each client has connections of its own.
OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


class RpcClient(Client):
    """Short calls, each on a channel of its own."""

    method = "Fast"
    body = "fast"

    async def once(self) -> str:
        channel = open_channel(self.target)
        try:
            return await self.call(channel)
        finally:
            await channel.close()

    async def call(self, channel: grpc.aio.Channel) -> str:
        """One call with one answer or several; the version that answered."""
        from grpc import aio

        method: aio.UnaryStreamMultiCallable[bytes, bytes]
        method = channel.unary_stream(f"/zoo.Zoo/{self.method}")
        try:
            data = b"".join([part async for part in method(b"")])
        except aio.AioRpcError as error:
            raise Failed(_failure(error), f"{error.code().name}: {error.details()}") from error
        return version_of(Answer(200, data, reusable=True), self.body)


class RpcKeptClient(RpcClient):
    """Short calls on one channel, for as long as it lives."""

    _channel: grpc.aio.Channel | None = None
    _closing: asyncio.Task[None] | None = None

    async def once(self) -> str:
        if self._channel is None:
            self._channel = open_channel(self.target)
        return await self.call(self._channel)

    def close(self) -> None:
        if self._channel is not None:
            self._closing = asyncio.ensure_future(self._channel.close(None))
            self._channel = None


class RpcSlowClient(RpcClient):
    """Calls that are answered after 2 s."""

    long = True
    method = "Slow"


class RpcStreamClient(RpcClient):
    """Calls with a stream of answers over 5 s; every one is checked."""

    long = True
    method, body = "Stream", "stream"


def open_channel(target: Target) -> grpc.aio.Channel:
    """A channel that has not connected yet."""
    # Only here: most loads make no calls.
    from grpc import aio

    assert isinstance(target.address, tuple)
    host, port = target.address
    return aio.insecure_channel(f"{host}:{port}", options=OPTIONS)


def _failure(error: grpc.aio.AioRpcError) -> Failure:
    import grpc

    if error.code() is grpc.StatusCode.UNAVAILABLE:
        refused = "onnection refused" in (error.details() or "")
        return Failure.REFUSED if refused else Failure.RESET
    return Failure.OTHER
