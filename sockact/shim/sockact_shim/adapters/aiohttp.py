"""aiohttp's server."""

from __future__ import annotations

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
        if closing() and self.status != 101:
            force_close(self)
            self.headers.popall("Connection", None)
        return await plain(self, request)

    response._start = _start
