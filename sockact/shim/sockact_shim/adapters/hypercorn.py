"""hypercorn over HTTP/1.1. The 101 of a WebSocket is an InformationalResponse of h11."""

from __future__ import annotations

from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_CLOSE = (b"Connection", b"close")


def close_after_response(module: ModuleType) -> None:
    """Patch hypercorn.protocol.h11."""
    protocol, response = module.H11Protocol, module.h11.Response
    plain = protocol._send_h11_event

    async def _send_h11_event(self: Any, event: Any) -> None:
        if closing() and type(event) is response:
            headers = [
                pair for pair in event.headers.raw_items() if pair[0].lower() != b"connection"
            ]
            event = response(
                status_code=event.status_code,
                headers=[*headers, _CLOSE],
                http_version=event.http_version,
                reason=event.reason,
            )
        await plain(self, event)

    protocol._send_h11_event = _send_h11_event
