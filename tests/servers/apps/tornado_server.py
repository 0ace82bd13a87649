"""Tornado's HTTP server, as its documentation shows it.

python -m tests.servers.apps.tornado_server 127.0.0.1 8000
"""

from __future__ import annotations

import asyncio
import sys

from tornado.web import Application, RequestHandler

from tests.servers.apps import answers

VERSION = answers.release()


class Fast(RequestHandler):
    """The short answer."""

    def get(self) -> None:
        self.write(answers.fast(VERSION))


class Slow(RequestHandler):
    """The answer after 2 s."""

    async def get(self) -> None:
        await asyncio.sleep(answers.SLOW_SECONDS)
        self.write(answers.fast(VERSION))


class Stream(RequestHandler):
    """The answer over 5 s."""

    async def get(self) -> None:
        for number in range(1, answers.LINES + 1):
            self.write(answers.line(VERSION, number))
            await self.flush()
            await asyncio.sleep(answers.LINE_PAUSE)


class Upload(RequestHandler):
    """How long the request's body was."""

    def post(self) -> None:
        self.write(answers.upload(VERSION, len(self.request.body)))


async def main(host: str, port: int) -> None:
    """Serve for ever."""
    routes = [("/fast", Fast), ("/slow", Slow), ("/stream", Stream), ("/upload", Upload)]
    Application(routes).listen(port, host or None)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
