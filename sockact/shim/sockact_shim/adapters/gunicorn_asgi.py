"""gunicorn's own ASGI worker."""

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
    """Patch gunicorn.asgi.protocol."""
    protocol = module.ASGIProtocol
    plain = protocol._send_response_start

    def _send_response_start(
        self: Any, status: int, headers: Any, request: Any, *more: Any, **named: Any
    ) -> Any:
        self._sockact_answered = request
        # `close` is what `_will_close` has just said: it may be time for the close only since then.
        if closing() and due(self) and named.get("close", True) and status >= 200:
            request.must_close = True
            others = [pair for pair in headers if not _is_connection(pair[0])]
            headers = [*others, (b"Connection", b"close")]
        return plain(self, status, headers, request, *more, **named)

    protocol._send_response_start = _send_response_start
    if hasattr(protocol, "_will_close"):
        _decide_before(protocol)


def _decide_before(protocol: Any) -> None:
    """gunicorn 27 decides just before it sends the headers, and may ask again later."""
    plain = protocol._will_close

    def _will_close(self: Any, request: Any, *more: Any) -> Any:
        if request is not getattr(self, "_sockact_answered", None) and closing() and due(self):
            return True
        return plain(self, request, *more)

    protocol._will_close = _will_close


def _is_connection(name: str | bytes) -> bool:
    return name.lower() in (b"connection", "connection")


def count_requests(module: ModuleType) -> None:
    """Patch gunicorn.asgi.protocol."""
    protocol = module.ASGIProtocol
    plain = protocol._handle_http_request

    def _handle_http_request(self: Any, *arguments: Any, **named: Any) -> Any:
        handling = partial(plain, self, *arguments, **named)
        began = begin()
        return _counted(self, handling, began) if began else handling()

    protocol._handle_http_request = _handle_http_request


async def _counted(protocol: Any, handling: Any, began: float) -> Any:
    """Handle a request, which takes the application from the protocol at once."""
    app = protocol.app
    status: Any = None
    complete = False

    async def counting(scope: Any, receive: Any, send: Any) -> Any:
        protocol.app = app  # the next request may come before the application has returned

        async def noting(message: Any) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message.get("status")
            await send(message)
            last = message["type"] == "http.response.body" and not message.get("more_body")
            if last and status is not None and not complete:
                complete = True
                end(began, LEFT if protocol._closed else status)

        return await app(scope, receive, noting)

    protocol.app = counting
    try:
        return await handling()
    finally:
        if protocol.app is counting:
            protocol.app = app
        if not complete:
            cut = RESET if status else 500
            end(began, LEFT if protocol._closed else cut)
