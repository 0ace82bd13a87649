"""tornado, also as gunicorn's worker class."""

from __future__ import annotations

from ..counting.page import LEFT, RESET, begin, finish
from ..spreading.moments import due
from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch tornado.http1connection."""
    connection = module.HTTP1Connection
    plain = connection.write_headers

    def write_headers(self: Any, start_line: Any, headers: Any, *more: Any, **named: Any) -> Any:
        # tornado's HTTP client uses this class, too.
        if not self.is_client and start_line.code >= 200 and closing() and due(self.stream):
            self._disconnect_on_finish = True
            # Otherwise an HTTP/1.0 client that asked for it would be promised a kept connection.
            self._request_headers["Connection"] = "close"
            headers["Connection"] = "close"
        return plain(self, start_line, headers, *more, **named)

    connection.write_headers = write_headers


def count_requests(module: ModuleType) -> None:
    """Patch tornado.http1connection, whose object is one request of a server."""
    connection = module.HTTP1Connection
    parse, plain = connection._parse_headers, connection.finish
    left, close = connection._on_connection_close, connection.close

    def _parse_headers(self: Any, data: bytes) -> Any:
        found = parse(self, data)
        if not self.is_client:
            self._sockact_began = begin()
        return found

    def counting_finish(self: Any) -> None:
        # Before it closes the connection.
        status = getattr(self._response_start_line, "code", RESET)
        finish(self, RESET if self._expected_content_remaining else status)
        plain(self)

    def _on_connection_close(self: Any) -> None:
        finish(self, LEFT)
        left(self)

    def counting_close(self: Any) -> None:
        if self._request_start_line is not None:
            finish(self, RESET)
        close(self)

    connection._parse_headers, connection.finish = _parse_headers, counting_finish
    connection._on_connection_close, connection.close = _on_connection_close, counting_close
