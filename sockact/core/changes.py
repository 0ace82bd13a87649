"""When what has changed on disk reloads a service: docs/watch.md.

Times are of one clock, in seconds; `now` comes in as an argument.
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
"""What editors, tools and programs write for themselves: names, where * stands for anything."""
LONGEST = 5.0
"""A reload waits no longer than this after the first change."""
MOST_IN_A_ROW = 10
_MOST_PATHS = 1000
_MOST_NAMED = 3


def is_ignored(name: str, patterns: Iterable[str]) -> bool:
    """Does one of the patterns fit the name of a file or directory?"""
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
    """It was made, and somebody is going to write to it, and to close it."""
    GONE = "gone"
    """It is not there any more, under this name."""


class Burst:
    """The changes that one reload is going to be for."""

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
        """When it began; only of one that has."""
        assert self._first is not None
        return self._first

    def add(self, path: str, now: float, what: What = What.CHANGED) -> None:
        """This has happened. A file that has come and gone is none: tools rename such ones."""
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
        """When to reload, if nothing else changes; `missing`: a path is gone, or not back yet."""
        latest = self.first + max(LONGEST, delay)
        return latest if missing or self._begun else min(self._last + delay, latest)

    def describe(self, folder: str = "") -> str:
        """In words; paths below `folder` without it."""
        base = f"{folder.rstrip('/')}/"
        names = [path.removeprefix(base) for path in [*self._paths][:_MOST_NAMED]]
        more = ", …" if len(self._paths) > _MOST_NAMED else ""
        number = len(self._paths)
        what = "1 file" if number == 1 else f"{number}{'+' * (number == _MOST_PATHS)} files"
        return f"{what} changed ({', '.join(names)}{more})"


class Streak:
    """Reloads one after the other: does the program write what is watched itself?

    After MOST_IN_A_ROW of them, without `pause` seconds of quiet in between, there are no more
    until nothing has changed for so long.
    """

    def __init__(self) -> None:
        self._count = 0
        self._over: float | None = None
        self._last = 0.0
        self.stopped = False

    def changed(self, now: float, pause: float) -> bool:
        """Something has: does that count?"""
        if self.stopped and now - self._last >= pause:
            self.reset()
        self._last = now
        return not self.stopped

    def may_begin(self, first: float, pause: float) -> bool:
        """A reload for changes of which the first was at that time; False when it is too much."""
        in_a_row = self._over is None or first < self._over + pause
        self._count = self._count + 1 if in_a_row else 1
        self.stopped = self._count > MOST_IN_A_ROW
        return not self.stopped

    def over(self, now: float) -> None:
        """The reload has ended, whichever way."""
        self._over = now

    def reset(self) -> None:
        """Somebody has reloaded on purpose, or there was a pause."""
        self._count, self._over, self.stopped = 0, None, False
