"""gunicorn's own HTTP workers: gthread and the greenlet ones. Its sync worker closes anyway."""

from __future__ import annotations

from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch gunicorn.http.wsgi."""
    response = module.Response
    plain, force_close = response.default_headers, response.force_close

    def default_headers(self: Any) -> Any:
        # Only while the headers are made: a response that promised to keep the connection does.
        if closing() and not self.upgrade:
            force_close(self)
        return plain(self)

    response.default_headers = default_headers
