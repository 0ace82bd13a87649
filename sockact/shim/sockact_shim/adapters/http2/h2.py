"""h2, the HTTP/2 library of hypercorn, gunicorn, Twisted and daphne.

The connection sends a graceful GOAWAY, with the largest stream number (RFC 9113, section 6.8): the
client opens no more streams, and those under way are served. The frame is added to the output
without h2's state machine, which only knows the other kind, and would send nothing afterwards.
"""

from __future__ import annotations

from ...spreading.moments import due
from .. import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

# Length 8, type 7, no flags, stream 0; last stream 2**31 - 1, NO_ERROR.
GOAWAY = bytes.fromhex("000008 07 00 00000000 7fffffff 00000000")

# GOAWAY waits for a moment without an open stream, because a client that uses h2 cannot read frames
# after it; but at most for this number of streams, because such a moment may never come.
PATIENCE = 100


def close_after_response(module: ModuleType) -> None:
    """Patch h2.connection."""
    connection = module.H2Connection
    plain = connection._prepare_for_sending

    def _prepare_for_sending(self: Any, frames: Any) -> None:
        plain(self, frames)
        if not self.config.client_side and closing() and due(self):
            ended = sum("END_STREAM" in frame.flags for frame in frames)
            if ended and not getattr(self, "_sockact_told", False):
                self._sockact_ended = getattr(self, "_sockact_ended", 0) + ended
                if not self.open_inbound_streams or self._sockact_ended >= PATIENCE:
                    self._data_to_send += GOAWAY
                    self._sockact_told = True

    connection._prepare_for_sending = _prepare_for_sending
