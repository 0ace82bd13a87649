"""cheroot, the server of CherryPy."""

from __future__ import annotations

from ..counting.page import LEFT, RESET, begin, end
from ..spreading.moments import due
from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch cheroot.server."""
    request = module.HTTPRequest
    plain = request.send_headers

    def send_headers(self: Any) -> None:
        last = not self.status.startswith(b"1") and closing() and due(self.conn)
        if last:
            others = [pair for pair in self.outheaders if pair[0].lower() != b"connection"]
            self.outheaders[:] = [*others, (b"Connection", b"close")]
        plain(self)
        if last:
            # Not before: cheroot reads the rest of the request only if the connection stays, and a
            # close with unread bytes would reset the connection before the client has the response.
            self.close_connection = True

    request.send_headers = send_headers


def count_requests(module: ModuleType) -> None:
    """Patch cheroot.server."""
    request = module.HTTPRequest
    plain = request.respond
    leaving = module.errors.socket_errors_to_ignore

    def respond(self: Any) -> None:
        began = begin()
        if not began:
            plain(self)
            return
        try:
            plain(self)
        except BaseException as error:
            left = isinstance(error, OSError) and error.args[:1] and error.args[0] in leaving
            end(began, LEFT if left else RESET if self.sent_headers else 500)
            raise
        end(began, self.status[:3] or 413)  # cheroot answers only this without setting it

    request.respond = respond
