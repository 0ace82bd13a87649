"""http.server of the standard library, and servers that use its handler, such as Werkzeug."""

from __future__ import annotations

from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch http.server."""
    handler = module.BaseHTTPRequestHandler
    plain = handler.end_headers

    def end_headers(self: Any) -> None:
        lines = getattr(self, "_headers_buffer", None)
        if closing() and lines and not _is_informational(lines[0]):
            lines[1:] = [line for line in lines[1:] if not line.lower().startswith(b"connection:")]
            lines.append(b"Connection: close\r\n")
            self.close_connection = True
        plain(self)

    handler.end_headers = end_headers


def _is_informational(status_line: bytes) -> bool:
    """Whether this is 100 Continue, before the response itself, or 101, the end of HTTP."""
    return status_line.partition(b" ")[2].startswith(b"1")
