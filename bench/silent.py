"""The clients of a load that hear nothing for longer than an idle connection is waited for."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from bench.clients import Client, HttpClient, version_of
from bench.exchange import Answer, Failed, HttpConnection
from bench.tally import Failure

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


class EventsClient(HttpClient):
    """Server-sent events; every one is checked."""

    long = True
    body = "events"
    pause_seconds = 4.0

    async def exchange(self, connection: HttpConnection) -> Answer:
        return await connection.get(f"/events/{self.load.silence or self.pause_seconds:g}")


class WebSocketClient(Client):
    """WebSockets: a message, nothing for 40 s, and another message."""

    long = True
    idle_seconds = 40.0

    async def once(self) -> str:
        # Only here: most loads have no WebSockets.
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        sock = await self.target.connect(socket.SOCK_STREAM)
        connecting = connect(
            "ws://localhost/ws", sock=sock, ping_interval=None, open_timeout=None, proxy=None
        )
        try:
            async with connecting as connection:
                first = await self._ask(connection)
                await asyncio.sleep(self.load.silence or self.idle_seconds)
                second = await self._ask(connection)
        except WebSocketException as error:
            raise Failed(Failure.EOF, f"{type(error).__name__}: {error}") from error
        finally:
            sock.close()
        if first != second:
            raise Failed(Failure.WRONG, f"version {second} on a connection of version {first}")
        return first

    async def _ask(self, connection: ClientConnection) -> str:
        await connection.send("ask")
        text = await connection.recv()
        assert isinstance(text, str)
        return version_of(Answer(200, text.encode(), reusable=True), "fast")
