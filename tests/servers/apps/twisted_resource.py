"""A resource for `twist web --class`: on a Unix socket Twisted cannot serve WSGI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.servers.apps import answers

if TYPE_CHECKING:
    from twisted.web.server import Request

VERSION = answers.release()


class Answers(Resource):
    """The short answer, the one after 2 s, the one over 5 s, and the one to an upload."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes | int:
        """What Twisted calls for each GET."""
        if request.path == b"/fast":
            return answers.fast(VERSION)
        ensureDeferred(answer(request))
        return NOT_DONE_YET

    def render_POST(self, request: Request) -> bytes:
        """What Twisted calls for each POST, once it is complete."""
        assert request.content is not None
        return answers.upload(VERSION, len(request.content.read()))


async def answer(request: Request) -> None:
    """The answers that take their time."""
    if request.path == b"/stream":
        for number in range(1, answers.LINES + 1):
            request.write(answers.line(VERSION, number))
            await deferLater(reactor, answers.LINE_PAUSE)
    else:
        await deferLater(reactor, answers.SLOW_SECONDS)
        request.write(answers.fast(VERSION))
    request.finish()
