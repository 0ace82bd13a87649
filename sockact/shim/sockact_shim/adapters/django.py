"""Django's `runserver`, which keeps connections and does not use http.server for its headers."""

from __future__ import annotations

from ..spreading.moments import due
from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch django.core.servers.basehttp."""
    handler = module.ServerHandler
    plain = handler.cleanup_headers

    def cleanup_headers(self: Any) -> None:
        plain(self)
        if closing() and due(self.request_handler):
            self.headers["Connection"] = "close"
            self.request_handler.close_connection = True

    handler.cleanup_headers = cleanup_headers
