"""Twisted's web server, and daphne, which builds on it, over HTTP/1.1.

Every response goes through Request.write, also in subclasses; a WebSocket takes the transport away
from its request before that. HTTP/2 is covered by the adapter of h2.
"""

from __future__ import annotations

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
        if closing() and not self.startedWriting and self.code >= 200:
            if isinstance(self.channel, channel):
                self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
                self.channel.persistent = False
        plain(self, data)

    request.write = write
