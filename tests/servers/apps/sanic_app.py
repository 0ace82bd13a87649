"""A Sanic application, for the `sanic` command."""

from __future__ import annotations

import asyncio
from typing import Any

from sanic import Request, Sanic
from sanic.response import HTTPResponse, raw

from tests.servers.apps import answers

VERSION = answers.release()

app: Sanic[Any, Any] = Sanic("zoo")


@app.get("/fast")
async def fast(request: Request) -> HTTPResponse:
    """The short answer."""
    return raw(answers.fast(VERSION))


@app.get("/slow")
async def slow(request: Request) -> HTTPResponse:
    """The answer after 2 s."""
    await asyncio.sleep(answers.SLOW_SECONDS)
    return raw(answers.fast(VERSION))


@app.get("/stream")
async def stream(request: Request) -> None:
    """The answer over 5 s."""
    response = await request.respond(content_type="text/plain")
    for number in range(1, answers.LINES + 1):
        await response.send(answers.line(VERSION, number))
        await asyncio.sleep(answers.LINE_PAUSE)
    await response.eof()


@app.post("/upload")
async def upload(request: Request) -> HTTPResponse:
    """How long the request's body was."""
    return raw(answers.upload(VERSION, len(request.body)))
