"""gevent.pywsgi, also as gunicorn's worker class `gevent_pywsgi`."""

from __future__ import annotations

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
        if closing() and self.code >= 200:
            headers = self.response_headers
            headers[:] = [pair for pair in headers if pair[0].lower() != b"connection"]
            headers.append((b"Connection", b"close"))
            self.close_connection = True

    handler.finalize_headers = finalize_headers
