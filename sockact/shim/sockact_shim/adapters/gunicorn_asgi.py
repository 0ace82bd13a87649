"""gunicorn's own ASGI worker."""

from __future__ import annotations

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
        if closing() and status >= 200:
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
        if closing() and request is not getattr(self, "_sockact_answered", None):
            return True
        return plain(self, request, *more)

    protocol._will_close = _will_close


def _is_connection(name: str | bytes) -> bool:
    return name.lower() in (b"connection", "connection")
