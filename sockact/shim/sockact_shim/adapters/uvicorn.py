"""uvicorn over HTTP/1.1, with h11, httptools and zttp; also as gunicorn's worker class.

All three obey a `connection: close` of the application, and close the transport when the response
is complete. A response that is under way keeps the bound `send` that it began with. One that comes
before the end of the request is left alone, and its connection closes after the next response.
"""

from __future__ import annotations

from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_CLOSE = (b"connection", b"close")


def close_after_response(module: ModuleType) -> None:
    """Patch a protocol module: uvicorn.protocols.http.h11_impl or its like."""
    cycle = module.RequestResponseCycle
    plain = cycle.send

    async def send(self: Any, message: Any) -> None:
        begins = message["type"] == "http.response.start" and not self.response_started
        # A close with unread bytes would reset the connection under an early response.
        early = self.more_body
        if begins and closing() and not early and message["status"] >= 200:
            headers = [(name, value) for name, value in message.get("headers", ())]
            headers = [pair for pair in headers if pair[0].lower() != b"connection"]
            message = dict(message, headers=[*headers, _CLOSE])
        await plain(self, message)

    cycle.send = send
