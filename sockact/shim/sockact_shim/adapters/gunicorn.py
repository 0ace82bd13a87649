"""gunicorn's own HTTP workers: gthread and the greenlet ones. The sync worker always closes."""

from __future__ import annotations

import errno

from ..counting.page import LEFT, RESET, begin, end, finish
from ..spreading.moments import due
from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

# Workers → the position of the request among the arguments of `handle_request`.
_WORKERS = {"SyncWorker": 1, "ThreadWorker": 0, "AsyncWorker": 1}
_LEAVING = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)


def close_after_response(module: ModuleType) -> None:
    """Patch gunicorn.http.wsgi."""
    response = module.Response
    plain, force_close = response.default_headers, response.force_close

    def default_headers(self: Any) -> Any:
        # Only while the headers are written: a response that promised to keep the connection does.
        if closing() and due(self.sock) and not self.upgrade and not _unread(self.req):
            force_close(self)
        return plain(self)

    response.default_headers = default_headers


def _unread(request: Any) -> bool:
    """Whether a part of the request is unread: a close would reset the connection."""
    reader = getattr(getattr(request, "body", None), "reader", None)
    left, chunks = getattr(reader, "length", 0), getattr(reader, "parser", None)
    return bool(left) or chunks is not None


def count_requests(module: ModuleType) -> None:
    """Patch gunicorn.http.wsgi, and the modules of its workers."""
    if hasattr(module, "Response"):
        _count_responses(module.Response)
    for name, position in _WORKERS.items():
        if hasattr(module, name):
            _count_failures(getattr(module, name), position)


def _count_responses(response: Any) -> None:
    plain = response.close

    def close(self: Any) -> None:
        plain(self)
        finish(self.req, self.status_code)

    response.close = close


def _count_failures(worker: Any, position: int) -> None:
    plain = worker.handle_request

    def handle_request(self: Any, *arguments: Any) -> Any:
        began = begin()
        if not began:
            return plain(self, *arguments)
        arguments[position]._sockact_began = began
        try:
            return plain(self, *arguments)
        except BaseException as error:
            if "_sockact_began" in arguments[position].__dict__:
                end(began, _status(error))
            raise

    worker.handle_request = handle_request


def _status(error: BaseException) -> int | None:
    """How a request ends that this exception leaves, and whose response is not complete."""
    if isinstance(error, OSError):
        return LEFT if error.errno in _LEAVING else RESET
    if isinstance(error, StopIteration):
        # From within an exception: the header was sent. Otherwise, somebody else has the socket.
        return RESET if error.__context__ else None
    return 500
