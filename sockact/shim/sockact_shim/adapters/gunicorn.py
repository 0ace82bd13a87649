"""gunicorn's own HTTP workers: gthread and the greenlet ones. The sync worker always closes."""

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
        # Only while the headers are written: a response that promised to keep the connection does.
        if closing() and not self.upgrade and not _unread(self.req):
            force_close(self)
        return plain(self)

    response.default_headers = default_headers


def _unread(request: Any) -> bool:
    """Whether a part of the request is unread: a close would reset the connection."""
    reader = getattr(getattr(request, "body", None), "reader", None)
    left, chunks = getattr(reader, "length", 0), getattr(reader, "parser", None)
    return bool(left) or chunks is not None
