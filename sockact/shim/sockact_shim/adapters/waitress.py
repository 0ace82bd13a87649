"""waitress."""

from __future__ import annotations

from ..counting.page import LEFT, RESET, begin, finish
from ..spreading.moments import due
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
        if closing() and due(self.channel):
            # waitress does the rest, as if the client had asked for it.
            self.request.headers["CONNECTION"] = "close"
        return plain(self)

    task.build_response_header = build_response_header


def count_requests(module: ModuleType) -> None:
    """Patch waitress.task."""
    task = module.Task
    service, plain = task.service, task.finish

    def counting_finish(self: Any) -> None:
        plain(self)
        finish(self, self.status[:3])

    def counting_service(self: Any) -> None:
        began = begin()
        if not began:
            service(self)
            return
        # That of the request which this task answers with an error.
        self._sockact_began = self.channel.__dict__.pop("_sockact_began", began)
        try:
            service(self)
        except Exception as error:
            if type(error).__name__ == "ClientDisconnected":
                finish(self, LEFT)
            elif self.wrote_header:
                finish(self, RESET)
            else:
                self.channel._sockact_began = self.__dict__.pop("_sockact_began", began)
            raise
        finish(self, RESET)  # of the application's OSError, which waitress ignores

    task.service, task.finish = counting_service, counting_finish
