"""hypercorn over HTTP/1.1. The 101 of a WebSocket is an InformationalResponse of h11.

Requests are counted over all versions of HTTP.
"""

from __future__ import annotations

from ..counting.page import LEFT, RESET, begin, finish
from ..spreading.moments import due
from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_CLOSE = (b"Connection", b"close")


def close_after_response(module: ModuleType) -> None:
    """Patch hypercorn.protocol.h11."""
    protocol, response = module.H11Protocol, module.h11.Response
    plain = protocol._send_h11_event

    async def _send_h11_event(self: Any, event: Any) -> None:
        if type(event) is response and closing() and due(self):
            headers = [
                pair for pair in event.headers.raw_items() if pair[0].lower() != b"connection"
            ]
            event = response(
                status_code=event.status_code,
                headers=[*headers, _CLOSE],
                http_version=event.http_version,
                reason=event.reason,
            )
        await plain(self, event)

    protocol._send_h11_event = _send_h11_event


def count_requests(module: ModuleType) -> None:
    """Patch hypercorn.protocol.http_stream."""
    stream = module.HTTPStream
    handle, app_send = stream.handle, stream.app_send
    closed, refused = stream._send_closed, stream._send_error_response

    def counting_handle(self: Any, event: Any) -> Any:
        if type(event) is module.Request:
            self._sockact_began = begin()
        elif type(event) is module.StreamClosed:
            finish(self, LEFT)
        return handle(self, event)

    def counting_app_send(self: Any, message: Any) -> Any:
        if message is None and not self.closed and self.state.name in ("RESPONSE", "TRAILERS"):
            finish(self, RESET)
        return app_send(self, message)

    def counting_closed(self: Any) -> Any:
        finish(self, self.response["status"])
        return closed(self)

    def counting_refused(self: Any, status_code: int) -> Any:
        finish(self, status_code)
        return refused(self, status_code)

    stream.handle, stream.app_send = counting_handle, counting_app_send
    stream._send_closed, stream._send_error_response = counting_closed, counting_refused
