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

    def write_headers(self: Any, start_line: Any, headers: Any, chunk: Any = None) -> Any:
        # The class speaks for tornado's HTTP client, too.
        if closing() and not self.is_client and start_line.code >= 200:
            self._disconnect_on_finish = True
            # A client of HTTP/1.0 that asked for it would be promised that the connection stays.
            self._request_headers["Connection"] = "close"
            headers["Connection"] = "close"
        return plain(self, start_line, headers, chunk)

    connection.write_headers = write_headers
