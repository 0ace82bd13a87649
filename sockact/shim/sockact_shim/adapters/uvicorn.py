"""uvicorn over HTTP/1.1, with h11, httptools and zttp; also as gunicorn's worker class.

All three obey a `connection: close` of the application, and close the transport when the response
is complete. A response that is under way keeps the bound `send` that it began with. One that comes
before the end of the request is left alone, and its connection closes after the next response.

Requests are counted from the start of the application to the end of the response, over HTTP/2, too.
"""

from __future__ import annotations

from ..counting.page import LEFT, RESET, begin, end
from ..spreading.moments import due
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
        if begins and not early and message["status"] >= 200 and closing() and due(self.transport):
            headers = [(name, value) for name, value in message.get("headers", ())]
            headers = [pair for pair in headers if pair[0].lower() != b"connection"]
            message = dict(message, headers=[*headers, _CLOSE])
        await plain(self, message)

    cycle.send = send


def count_requests(module: ModuleType) -> None:
    """Patch a protocol module, as above, or uvicorn.protocols.http.zttp_h2_impl."""
    cycle = module.RequestResponseCycle
    plain = cycle.run_asgi

    def run_asgi(self: Any, app: Any) -> Any:
        began = begin()
        return _counted(plain, self, app, began) if began else plain(self, app)

    cycle.run_asgi = run_asgi


async def _counted(plain: Any, cycle: Any, app: Any, began: float) -> None:
    """Run the application, which takes `send` and `on_response` from the cycle."""
    send, on_response = cycle.send, cycle.on_response
    status: Any = RESET
    complete = False

    def noting(message: Any) -> Any:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message.get("status", RESET)
        return send(message)

    def ended(*stream: int) -> None:
        nonlocal complete
        if cycle.response_complete and not complete:
            complete = True
            end(began, status)
        on_response(*stream)

    cycle.send, cycle.on_response = noting, ended
    try:
        await plain(cycle, app)
    finally:
        del cycle.send  # it refers to the cycle
        if not complete:
            end(began, LEFT if cycle.disconnected else RESET)
