"""tornado, also as gunicorn's worker class."""

from __future__ import annotations

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
        if closing() and not self.is_client and start_line.code >= 200:
            self._disconnect_on_finish = True
            # Otherwise an HTTP/1.0 client that asked for it would be promised a kept connection.
            self._request_headers["Connection"] = "close"
            headers["Connection"] = "close"
        return plain(self, start_line, headers, *more, **named)

    connection.write_headers = write_headers
