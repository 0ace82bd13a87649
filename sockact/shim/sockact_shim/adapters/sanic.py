"""Sanic over HTTP/1.1. A WebSocket's handshake does not go through `respond`."""

from __future__ import annotations

from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch sanic.http, a module or, since Sanic 22.6, a package."""
    http = module.Http
    plain = http.respond

    def respond(self: Any, response: Any) -> Any:
        # The header is written from this flag.
        if closing():
            self.keep_alive = False
        return plain(self, response)

    http.respond = respond
