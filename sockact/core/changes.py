"""Changes on disk, and when they reload a service: docs/watch.md.

Times are in seconds of one clock; `now` is an argument.
"""

from __future__ import annotations

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

IGNORED = (
    *("*~", "#*#", ".#*", "*.swp", "*.swo", "*.swx", "4913", "*.tmp"),
    *(".git", ".hg", ".svn", "__pycache__", "*.pyc", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
    *("node_modules", ".venv", "venv", ".tox", ".nox"),
    *("*.log", "*.pid", "*.sock", "*.sqlite3", "*-journal", "*-wal", "*-shm"),
)
"""Names of files that editors, tools and programs write for themselves; * matches anything."""
LONGEST = 5.0
"""Longest time between the first change and the reload, in seconds."""
MOST_IN_A_ROW = 10
_MOST_PATHS = 1000
_MOST_NAMED = 3


def is_ignored(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns matches the name of a file or directory."""
    return any(_fits(name, pattern) for pattern in patterns)


def _fits(name: str, pattern: str) -> bool:
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    *between, last = others
    if not name.startswith(first):
        return False
    at = len(first)
    for part in between:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - len(last) >= at and name.endswith(last)


class What(Enum):
    """What happened to a path."""

    CHANGED = "changed"
    BEGUN = "begun"
    """It was created, and a writer has yet to close it."""
    GONE = "gone"
    """It was removed or renamed."""


class Burst:
    """The changes that the next reload is for."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = 0.0
        self._paths: dict[str, None] = {}
        self._begun: set[str] = set()
        self._made: set[str] = set()

    def __bool__(self) -> bool:
        return self._first is not None

    @property
    def first(self) -> float:
        """The time of the first change; there has to be one."""
        assert self._first is not None
        return self._first

    def add(self, path: str, now: float, what: What = What.CHANGED) -> None:
        """Add a change. A file that was created and is gone again does not count: tools rename
        temporary files.
        """
        self._first = now if self._first is None else self._first
        self._last = now
        self._begun.discard(path)
        if what is What.GONE and path in self._made:
            self._made.remove(path)
            del self._paths[path]
            self._first = self._first if self._paths else None
        elif path in self._paths or len(self._paths) < _MOST_PATHS:
            if what is What.BEGUN:
                self._begun.add(path)
                if path not in self._paths:
                    self._made.add(path)
            self._paths[path] = None

    def due(self, delay: float, *, missing: bool) -> float:
        """When to reload unless more changes follow; `missing`: a watched path does not exist."""
        latest = self.first + max(LONGEST, delay)
        return latest if missing or self._begun else min(self._last + delay, latest)

    def describe(self, directory: str = "") -> str:
        """The changes in words; paths below `directory` are shown relative to it."""
        base = f"{directory.rstrip('/')}/"
        names = [path.removeprefix(base) for path in [*self._paths][:_MOST_NAMED]]
        more = ", …" if len(self._paths) > _MOST_NAMED else ""
        number = len(self._paths)
        what = "1 file" if number == 1 else f"{number}{'+' * (number == _MOST_PATHS)} files"
        return f"{what} changed ({', '.join(names)}{more})"


class Streak:
    """Stops an endless series of reloads, as when the program itself writes the watched files.

    After MOST_IN_A_ROW reloads less than `pause` seconds apart, there are no more until nothing has
    changed for that long.
    """

    def __init__(self) -> None:
        self._count = 0
        self._over: float | None = None
        self._last = 0.0
        self.stopped = False

    def changed(self, now: float, pause: float) -> bool:
        """Something has changed. Returns whether it may lead to a reload."""
        if self.stopped and now - self._last >= pause:
            self.reset()
        self._last = now
        return not self.stopped

    def may_begin(self, first: float, pause: float) -> bool:
        """Whether a reload may begin for changes since `first`."""
        in_a_row = self._over is None or first < self._over + pause
        self._count = self._count + 1 if in_a_row else 1
        self.stopped = self._count > MOST_IN_A_ROW
        return not self.stopped

    def over(self, now: float) -> None:
        """The reload has ended, whatever its outcome."""
        self._over = now

    def reset(self) -> None:
        """Start anew, after a pause or a reload that was asked for."""
        self._count, self._over, self.stopped = 0, None, False
