"""Files to which a service writes its output, by StandardOutput= and StandardError=."""

from __future__ import annotations

from sockact.trust import files, walk
from sockact.units import unitfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.units.facts import Unit

_KINDS = ("file", "append", "truncate")
# What is read of a file, in bytes.
_LARGEST = 16384


class OutputFiles:
    """The files as they are now, and what is added to them."""

    def __init__(self, unit: Unit | None = None) -> None:
        self._sizes = {path: _size(path) for path in (paths(unit) if unit else ())}

    def added(self) -> list[str]:
        """The last lines that were added since the construction."""
        return [line for path, size in self._sizes.items() for line in _added(path, size)]


def paths(unit: Unit) -> list[str]:
    """The files that its settings name."""
    settings = unit.files.get("Service", {})
    values = [(settings.get(key) or [""])[-1] for key in ("StandardOutput", "StandardError")]
    found = [value.partition(":") for value in values]
    named = [path for kind, _, path in found if kind in _KINDS and path.startswith("/")]
    return list(dict.fromkeys(unitfile.expand(named, unit.name, {})))


def _size(path: str) -> int:
    try:
        with walk.find(path) as found:
            return found.stat().st_size
    except OSError:
        return 0


def _added(path: str, size: int) -> list[str]:
    try:
        # Perhaps in a directory of the service's user.
        data = files.read_added(path, size, _LARGEST)
    except OSError:
        return []
    return data.decode(errors="replace").splitlines()
