"""Sanic over HTTP/1.1. A WebSocket's handshake does not go through `respond`."""

from __future__ import annotations

from functools import partial

from ..counting.page import LEFT, RESET, begin, end
from ..spreading.moments import due
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
        if closing() and due(self.protocol):
            self.keep_alive = False
        return plain(self, response)

    http.respond = respond


def count_requests(module: ModuleType) -> None:
    """Patch sanic.http. A request has had its header read at `perft0`, by the same clock."""
    http = module.Http
    if "perft0" not in http.__slots__:
        raise AttributeError("perft0")
    send, error_response = http.send, http.error_response

    def counting_send(self: Any) -> Any:
        plain = send.fget(self)
        return partial(_counted, self, plain) if begin() and plain else plain

    def counting_error(self: Any, exception: Exception) -> Any:
        if self.stage.name == "RESPONSE":
            end(self.perft0 or 0.0, LEFT if self.protocol.conn_info.lost else RESET)
        return error_response(self, exception)

    http.send, http.error_response = property(counting_send), counting_error


async def _counted(http: Any, send: Any, *arguments: Any, **named: Any) -> None:
    await send(*arguments, **named)
    if http.stage.name == "IDLE":
        end(http.perft0 or 0.0, http.response.status)
