"""http.server of the standard library, and servers that use its handler, such as Werkzeug."""

from __future__ import annotations

from ..counting.page import LEFT, RESET, begin, finish
from ..spreading.moments import due
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
        if lines and closing() and due(self) and not _is_informational(lines[0]):
            lines[1:] = [line for line in lines[1:] if not line.lower().startswith(b"connection:")]
            lines.append(b"Connection: close\r\n")
            self.close_connection = True
        plain(self)

    handler.end_headers = end_headers


def _is_informational(status_line: bytes) -> bool:
    """Whether this is 100 Continue, before the response itself, or 101, the end of HTTP."""
    return status_line.partition(b" ")[2].startswith(b"1")


def count_requests(module: ModuleType) -> None:
    """Patch http.server, werkzeug.serving, or wsgiref.handlers, which Django's runserver uses."""
    if hasattr(module, "BaseHandler"):
        _count_wsgiref(module.BaseHandler)
    elif hasattr(module, "WSGIRequestHandler"):
        _count_within(module.WSGIRequestHandler, "run_wsgi")
    else:
        _count_within(module.BaseHTTPRequestHandler, "handle_one_request")
        _note(module.BaseHTTPRequestHandler)


def _note(handler: Any) -> None:
    """Note when a request begins, and the status that it gets."""
    parse, respond = handler.parse_request, handler.send_response_only

    def parse_request(self: Any) -> Any:
        found = parse(self)
        if found:
            self._sockact_began, self._sockact_status = begin(), RESET
        return found

    def send_response_only(self: Any, code: int, *more: Any, **named: Any) -> None:
        self._sockact_status = code
        respond(self, code, *more, **named)

    handler.parse_request, handler.send_response_only = parse_request, send_response_only


def _count_within(handler: Any, name: str) -> None:
    """Count the requests that are answered when this method returns."""
    plain = getattr(handler, name)

    def answer(self: Any) -> None:
        status: Any = RESET
        try:
            plain(self)
            status = getattr(self, "_sockact_status", RESET)
        except ConnectionError:
            status = LEFT
            raise
        finally:
            finish(self, status)

    setattr(handler, name, answer)


def _count_wsgiref(handler: Any) -> None:
    plain, close, fail = handler.run, handler.close, handler.handle_error

    def run(self: Any, application: Any) -> None:
        self._sockact_began = begin()
        try:
            plain(self, application)
        finally:
            finish(self, LEFT)  # which it ignores

    def counting_close(self: Any) -> None:
        if self.status:
            finish(self, self.status[:3])
        close(self)

    def handle_error(self: Any) -> None:
        try:
            fail(self)
        finally:
            finish(self, RESET)

    handler.run, handler.close, handler.handle_error = run, counting_close, handle_error
