"""cheroot, the server of CherryPy."""

from __future__ import annotations

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
        last = closing() and not self.status.startswith(b"1")
        if last:
            others = [pair for pair in self.outheaders if pair[0].lower() != b"connection"]
            self.outheaders[:] = [*others, (b"Connection", b"close")]
        plain(self)
        if last:
            # Not before: cheroot reads the rest of the request only if the connection stays, and a
            # close with unread bytes would reset the connection before the client has the response.
            self.close_connection = True

    request.send_headers = send_headers
