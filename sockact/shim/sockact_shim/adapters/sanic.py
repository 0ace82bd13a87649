"""Sanic over HTTP/1.1. A WebSocket's handshake does not go through `respond`."""

from __future__ import annotations

from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch sanic.http.http1, in Sanic before 22.6 sanic.http."""
    http = module.Http
    plain = http.respond

    def respond(self: Any, response: Any) -> Any:
        # Its header says what this says, when it is sent.
        if closing():
            self.keep_alive = False
        return plain(self, response)

    http.respond = respond
