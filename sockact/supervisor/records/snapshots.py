"""The configurations that have served, as numbered files in the state directory.

For `sockact config`; the supervisor itself reads only the last one, to compare.
"""

from __future__ import annotations

import contextlib
import os

from sockact.core.history import snapshots
from sockact.supervisor.records.state_dir import create, read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.settings import Settings


class Snapshots:
    """The kept configurations of one service."""

    def __init__(self, directory: str, notice: Callable[[str], None]) -> None:
        """`directory` is the state directory of the service. `notice` is called for errors."""
        self._directory = os.path.join(directory, snapshots.DIRECTORY)
        self._notice = notice
        self._last: Settings | None = None

    def keep(self, settings: Settings | None) -> None:
        """Keep the configuration of a generation that serves, unless it is the last one kept."""
        if settings is None or settings is self._last:
            return
        self._last = settings
        try:
            self._write(settings.config_text, os.path.splitext(settings.config)[1])
        except OSError as error:
            self._notice(f"cannot keep this configuration in {self._directory}: {error.strerror}")

    def _write(self, text: str, ending: str) -> None:
        # The environment in it may hold passwords.
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        there = snapshots.numbered(os.listdir(self._directory))
        last = max(there, default=0)
        data = text.encode()
        if last and there[last].endswith(ending) and self._is(there[last], data):
            return
        path = os.path.join(self._directory, f"{last + 1}{ending}")
        following = f"{path}.new"
        try:
            with create(following, 0o600) as file:
                file.write(data)
            os.replace(following, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(following)
            raise
        for number in [*there, last + 1][: -snapshots.MOST]:
            os.unlink(os.path.join(self._directory, there[number]))

    def _is(self, name: str, data: bytes) -> bool:
        try:
            return read_regular(os.path.join(self._directory, name), len(data) + 1) == data
        except OSError:
            return False
