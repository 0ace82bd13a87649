"""waitress."""

from __future__ import annotations

from . import closing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def close_after_response(module: ModuleType) -> None:
    """Patch waitress.task."""
    task = module.Task
    plain = task.build_response_header

    def build_response_header(self: Any) -> Any:
        if closing():
            # waitress does the rest, as if the client had asked for it.
            self.request.headers["CONNECTION"] = "close"
        return plain(self)

    task.build_response_header = build_response_header
