"""aiohttp's server."""

from __future__ import annotations

from ..counting.page import LEFT, RESET, begin, end
from ..spreading.moments import due
from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch aiohttp.web_response."""
    response = module.StreamResponse
    plain, force_close = response._start, response.force_close

    async def _start(self: Any, request: Any) -> Any:
        if self.status != 101 and closing() and due(request.protocol):
            force_close(self)
            self.headers.popall("Connection", None)
        return await plain(self, request)

    response._start = _start


def count_requests(module: ModuleType) -> None:
    """Patch aiohttp.web_protocol."""
    protocol = module.RequestHandler
    plain = protocol._handle_request

    def _handle_request(self: Any, *arguments: Any) -> Any:
        began = begin()
        return counted(self, arguments, began) if began else plain(self, *arguments)

    async def counted(self: Any, arguments: Any, began: float) -> Any:
        status: Any = RESET
        try:
            response, reset = await plain(self, *arguments)
            status = LEFT if reset else response.status
            return response, reset
        except module.asyncio.CancelledError:
            status = LEFT
            raise
        finally:
            end(began, status)

    protocol._handle_request = _handle_request
