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
    plain_close, plain_start = protocol._will_close, protocol._send_response_start

    def _will_close(self: Any, request: Any, required: bool) -> bool:
        # It is asked again after the response: one that promised to keep the connection does.
        if closing() and request is not getattr(self, "_sockact_answered", None):
            return True
        return bool(plain_close(self, request, required))

    def _send_response_start(
        self: Any, status: int, headers: Any, request: Any, close: bool = False
    ) -> None:
        self._sockact_answered = request
        if close:
            request.must_close = True
            headers = [pair for pair in headers if not _is_connection(pair[0])]
        plain_start(self, status, headers, request, close=close)

    protocol._will_close = _will_close
    protocol._send_response_start = _send_response_start


def _is_connection(name: str | bytes) -> bool:
    return name.lower() in (b"connection", "connection")
