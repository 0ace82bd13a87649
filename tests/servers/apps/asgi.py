"""An ASGI application, for every server that speaks ASGI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tests.servers.apps import answers

VERSION = answers.release()

Message = MutableMapping[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """The short answer, the one after 2 s, the one over 5 s, the one to an upload, and none.

    And server-sent events: `/events/4` sends them with pauses of 4 s.
    """
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if scope["type"] == "websocket":
        await websocket(receive, send)
        return
    if scope["path"].startswith("/events/"):
        await events(send, float(scope["path"].removeprefix("/events/")))
        return
    headers = [(b"content-type", b"text/plain")]
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(1, answers.LINES + 1):
            body = answers.line(VERSION, number)
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await asyncio.sleep(answers.LINE_PAUSE)
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(answers.SLOW_SECONDS)
    if scope["path"] == "/hang":
        time.sleep(answers.FOREVER)  # And nobody else is served, either.
    body = answers.fast(VERSION)
    if scope["path"] == "/upload":
        body = answers.upload(VERSION, await received(receive))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def events(send: Callable[[Message], Awaitable[None]], pause: float) -> None:
    """Server-sent events with pauses of so many seconds."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(1, answers.EVENTS + 1):
        if number > 1:
            await asyncio.sleep(pause)
        body = answers.event(VERSION, number)
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def websocket(
    receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """A WebSocket gets the short answer for each message."""
    while (event := (await receive())["type"]) != "websocket.disconnect":
        if event == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "websocket.send", "text": answers.fast(VERSION).decode()})


async def received(receive: Callable[[], Awaitable[Message]]) -> int:
    """Read the request's body; gives its length."""
    length = 0
    while True:
        event = await receive()
        length += len(event.get("body", b""))
        if not event.get("more_body", False):
            return length


async def lifespan(
    receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Nothing to set up, nothing to tear down."""
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
