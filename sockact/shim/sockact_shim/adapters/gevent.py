"""gevent.pywsgi, also as gunicorn's worker class `gevent_pywsgi`."""

from __future__ import annotations

from ..counting.page import RESET, begin, finish
from ..spreading.moments import due
from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch gevent.pywsgi."""
    handler = module.WSGIHandler
    plain = handler.finalize_headers

    def finalize_headers(self: Any) -> None:
        plain(self)
        if self.code >= 200 and closing() and due(self):
            headers = self.response_headers
            headers[:] = [pair for pair in headers if pair[0].lower() != b"connection"]
            headers.append((b"Connection", b"close"))
            self.close_connection = True

    handler.finalize_headers = finalize_headers


def count_requests(module: ModuleType) -> None:
    """Patch gevent.pywsgi."""
    handler = module.WSGIHandler
    plain, fail = handler.handle_one_response, handler._send_error_response_if_possible

    def handle_one_response(self: Any) -> None:
        began = self._sockact_began = begin()
        plain(self)
        if began:
            finish(self, (self.status or "")[:3])

    def _send_error_response_if_possible(self: Any, error_code: int) -> None:
        if self.response_length:
            finish(self, RESET)
        fail(self, error_code)

    handler.handle_one_response = handle_one_response
    handler._send_error_response_if_possible = _send_error_response_if_possible
