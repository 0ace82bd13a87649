"""Twisted's web server, and daphne, which builds on it, over HTTP/1.1.

Every response goes through Request.write, also in subclasses; a WebSocket takes the transport away
from its request before that. HTTP/2 is covered by the adapter of h2.
"""

from __future__ import annotations

from ..counting.page import LEFT, RESET, begin, finish
from ..spreading.moments import due
from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch twisted.web.http."""
    request, channel = module.Request, module.HTTPChannel
    plain = request.write

    def write(self: Any, data: bytes) -> None:
        if not self.startedWriting and self.code >= 200 and closing() and due(self.channel):
            if isinstance(self.channel, channel):
                self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
                self.channel.persistent = False
        plain(self, data)

    request.write = write


def count_requests(module: ModuleType) -> None:
    """Patch twisted.web.http. HTTP/2 has the same requests."""
    request = module.Request
    got, plain = request.gotLength, request.finish
    lost, lose = request.connectionLost, request.loseConnection

    def gotLength(self: Any, length: Any) -> None:
        self._sockact_began = begin()
        got(self, length)

    def counting_finish(self: Any) -> None:
        if not self._disconnected:
            finish(self, self.code)
        plain(self)

    def connectionLost(self: Any, reason: Any) -> None:
        finish(self, LEFT)
        lost(self, reason)

    def loseConnection(self: Any) -> None:
        finish(self, RESET)
        lose(self)

    request.gotLength, request.finish = gotLength, counting_finish
    request.connectionLost, request.loseConnection = connectionLost, loseConnection
