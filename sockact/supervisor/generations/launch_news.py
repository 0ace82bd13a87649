"""What the process of a launch reports before it executes the program."""

from __future__ import annotations

from sockact.supervisor.base.loop import READ
from sockact.supervisor.processes import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop


class LaunchNews:
    """The reports of one launch, until the program has been executed or cannot be."""

    def __init__(
        self,
        loop: Loop,
        news: socket.socket,
        filtered: Callable[[int], None],
        ended: Callable[[launch.LaunchFailure | None], None],
    ) -> None:
        """`news` is the socket of `launch.spawn`. `filtered` gets the notification fd. `ended` is
        called once, with None if the program has been executed.
        """
        self._loop = loop
        self._news: socket.socket | None = news
        self._filtered = filtered
        self._ended = ended
        loop.watch(news.fileno(), READ, self.read)

    def read(self, _mask: int = 0) -> None:
        """Read what has been reported by now."""
        while self._news is not None:
            try:
                news = launch.read_news(self._news)
            except BlockingIOError:
                return
            if isinstance(news, int):
                self._filtered(news)
            else:
                self.close()
                self._ended(news)

    def close(self) -> None:
        """Read no more."""
        if self._news is not None:
            self._loop.unwatch(self._news.fileno())
            self._news.close()
            self._news = None
