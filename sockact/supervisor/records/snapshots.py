"""The configurations that have served, as numbered files in the state directory.

For `sockact config`; the supervisor itself reads only the last one, to compare.
"""

from __future__ import annotations

import os

from sockact.core.history import snapshots
from sockact.trust import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.settings import Settings

_PLAIN = 2
"""The directory and a name in it are no links: the program may write to the state directory."""


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
        files.make_directory(self._directory, 0o700, plain=1)
        there = snapshots.numbered(files.names_in(self._directory, snapshots.MOST_ENTRIES))
        last = max(there, default=0)
        data = text.encode()
        if last and there[last].endswith(ending) and self._is(there[last], data):
            return
        there[last + 1] = f"{last + 1}{ending}"
        files.replace_own(self._path(there[last + 1]), data, 0o600, _PLAIN)
        for number in [*there][: -snapshots.MOST]:
            files.remove_own(self._path(there[number]), _PLAIN)

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _is(self, name: str, data: bytes) -> bool:
        try:
            return files.read_own(self._path(name), len(data) + 1, _PLAIN) == data
        except OSError:
            return False
