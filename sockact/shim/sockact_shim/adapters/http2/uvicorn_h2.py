"""uvicorn over HTTP/2, with zttp. See the adapter of h2 for the frame."""

from __future__ import annotations

from ...spreading.moments import due
from .. import closing
from .h2 import GOAWAY, PATIENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch uvicorn.protocols.http.zttp_h2_impl."""
    protocol = module.ZttpH2Protocol
    # Not on_response_complete, which a response that is under way has already bound.
    plain = protocol.on_stream_closed

    def on_stream_closed(self: Any) -> None:
        plain(self)
        if not getattr(self, "_sockact_told", False) and closing() and due(self):
            self._sockact_ended = getattr(self, "_sockact_ended", 0) + 1
            if not self.cycles or self._sockact_ended >= PATIENCE:
                self.transport.write(GOAWAY)
                self._sockact_told = True

    protocol.on_stream_closed = on_stream_closed
