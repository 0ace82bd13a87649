"""Keeping each configuration that has served, as a numbered file in the state directory.

For `sockact config`; nothing here is read again by the supervisor but the last one, once.
"""

from __future__ import annotations

import contextlib
import os

from sockact.core.history import snapshots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.settings import Settings


class Snapshots:
    """Of one service. Where nothing can be written, it says so once."""

    def __init__(self, directory: str, notice: Callable[[str], None]) -> None:
        """`directory` is the state directory of the service."""
        self._folder = os.path.join(directory, snapshots.DIRECTORY)
        self._notice = notice
        self._last: Settings | None = None

    def serves(self, settings: Settings | None) -> None:
        """These serve now; kept unless they are the last that were."""
        if settings is None or settings is self._last:
            return
        self._last = settings
        try:
            self._keep(settings.config_text, os.path.splitext(settings.config)[1])
        except OSError as error:
            self._notice(f"{self._folder}: {error.strerror}: this configuration is not kept")

    def _keep(self, text: str, ending: str) -> None:
        # Variables with passwords may be in it.
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        there = snapshots.numbered(os.listdir(self._folder))
        last = max(there, default=0)
        data = text.encode()
        if last and there[last].endswith(ending) and self._content(there[last]) == data:
            return
        path = os.path.join(self._folder, f"{last + 1}{ending}")
        following = f"{path}.new"
        try:
            fd = os.open(following, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(fd, "wb") as file:
                file.write(data)
            os.replace(following, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(following)
            raise
        for number in [*there, last + 1][: -snapshots.MOST]:
            os.unlink(os.path.join(self._folder, there[number]))

    def _content(self, name: str) -> bytes:
        with open(os.path.join(self._folder, name), "rb") as file:
            return file.read()
