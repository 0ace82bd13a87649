"""h2, the HTTP/2 of hypercorn, of gunicorn, and of Twisted and daphne.

The connection says GOAWAY with the largest stream number, which is the graceful kind (RFC 9113,
section 6.8): the client opens no more streams, and every one that is on its way is served. It is
written into the output past h2's state machine, which knows only the other kind and would refuse
to send another byte.
"""

from __future__ import annotations

from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

# Length 8, type 7, no flags, stream 0; last stream 2**31 - 1, NO_ERROR.
GOAWAY = bytes.fromhex("000008 07 00 00000000 7fffffff 00000000")

# It waits for a moment without an open stream, because a client that is built on h2 too cannot
# read another frame after it; but not for ever, because such a moment may never come.
PATIENCE = 100


def close_after_response(module: ModuleType) -> None:
    """Patch h2.connection."""
    connection = module.H2Connection
    plain = connection._prepare_for_sending

    def _prepare_for_sending(self: Any, frames: Any) -> None:
        plain(self, frames)
        if closing() and not self.config.client_side:
            ended = sum("END_STREAM" in frame.flags for frame in frames)
            if ended and not getattr(self, "_sockact_told", False):
                self._sockact_ended = getattr(self, "_sockact_ended", 0) + ended
                if not self.open_inbound_streams or self._sockact_ended >= PATIENCE:
                    self._data_to_send += GOAWAY
                    self._sockact_told = True

    connection._prepare_for_sending = _prepare_for_sending
