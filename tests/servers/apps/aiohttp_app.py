"""An aiohttp application, for `python -m aiohttp.web`, and a program that serves it.

python -m tests.servers.apps.aiohttp_app 127.0.0.1 8000
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from tests.servers.apps import answers

VERSION = answers.release()


async def fast(request: web.Request) -> web.Response:
    """The short answer."""
    return web.Response(body=answers.fast(VERSION))


async def slow(request: web.Request) -> web.Response:
    """The answer after 2 s."""
    await asyncio.sleep(answers.SLOW_SECONDS)
    return web.Response(body=answers.fast(VERSION))


async def upload(request: web.Request) -> web.Response:
    """How long the request's body was."""
    length = 0
    async for data in request.content.iter_any():
        length += len(data)
    return web.Response(body=answers.upload(VERSION, length))


async def stream(request: web.Request) -> web.StreamResponse:
    """The answer over 5 s."""
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(1, answers.LINES + 1):
        await response.write(answers.line(VERSION, number))
        await asyncio.sleep(answers.LINE_PAUSE)
    await response.write_eof()
    return response


def application(arguments: list[str]) -> web.Application:
    """What `python -m aiohttp.web` calls with the rest of its command line."""
    app = web.Application()
    app.router.add_get("/fast", fast)
    app.router.add_get("/slow", slow)
    app.router.add_get("/stream", stream)
    app.router.add_post("/upload", upload)
    return app


if __name__ == "__main__":
    web.run_app(application([]), host=sys.argv[1] or None, port=int(sys.argv[2]), print=None)
