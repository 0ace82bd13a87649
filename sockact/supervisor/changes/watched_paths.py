"""Watches paths for changes: docs/watch.md.

Every directory and symbolic link on the way to a path is watched, because each may be replaced. A
directory is watched with everything below it, except ignored names; symbolic links in it are not
followed.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from sockact.core.changes import What, is_ignored
from sockact.kernel import inotify
from sockact.kernel.inotify import Inotify
from sockact.supervisor.base.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockact.kernel.inotify import Event
    from sockact.supervisor.base.loop import Loop, Timer

    Changed = Callable[[str, What], None]
    # (path, what happened, the watched paths that lead through it)
    Step = tuple[str, What, set[str]]

MOST = 2048
"""Maximum number of directories: reading so many takes about 0.1 s, when a link is switched."""
UNKNOWN = "more than the kernel could report"
_PAUSE = 0.1
_SHARE = 0.1
"""Of one core, at the most, for directories with very many entries that keep changing."""
_MOST_LINKS = 40
_MOST_TOLD = 20
_REPLACED = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO
_NO_MORE = {
    errno.ENOSPC: "fs.inotify.max_user_watches",
    errno.EMFILE: "fs.inotify.max_user_instances or the limit of open files",
}


class _Place:
    """A watched directory."""

    __slots__ = ("path", "steps", "tree")

    def __init__(self, path: str) -> None:
        self.path = path
        self.steps: dict[str, set[str]] = {}
        """Name of an entry → the watched paths that lead through it."""
        self.tree = False
        """Whether changes of everything in it count."""


class WatchedPaths:
    """Calls `changed` for each change, and `problem` with why some changes will be missed.

    `fd` is the inotify descriptor that an upgrade carried over. Nothing is watched before `watch`.
    """

    def __init__(
        self,
        loop: Loop,
        changed: Changed,
        problem: Callable[[str], None],
        fd: int | None = None,
    ) -> None:
        self._loop = loop
        self._changed = changed
        self._problem = problem
        self._inotify = None if fd is None else Inotify(fd)
        self._paths: tuple[str, ...] = ()
        self._patterns: tuple[str, ...] = ()
        self._places: dict[int, _Place] = {}
        self._there: dict[str, str] = {}
        self._gone: set[str] = set()
        self._timer: Timer | None = None
        self._told: set[str] = set()

    def fileno(self) -> int | None:
        """Return the inotify descriptor, to carry over an upgrade."""
        return self._inotify.fileno() if self._inotify else None

    @property
    def missing(self) -> bool:
        """Whether a watched path has disappeared."""
        return bool(self._gone)

    @property
    def incomplete(self) -> bool:
        """Whether something could not be watched."""
        return bool(self._told)

    def settle(self) -> None:
        """Stop waiting for paths that have disappeared."""
        self._gone.clear()

    def watch(self, paths: tuple[str, ...], patterns: tuple[str, ...]) -> None:
        """Watch these paths from now on, without directory entries that match a pattern."""
        self._paths, self._patterns = paths, patterns
        self._gone.clear()
        self._there.clear()
        self._told.clear()
        if not paths:
            self.close()
            return
        try:
            self._inotify = self._inotify or Inotify()
        except OSError as error:
            self._fail(f"watching nothing: {_reason(error)}")
            return
        self._follow_all()
        if self._timer is None:
            self._listen()

    def close(self) -> None:
        """Stop watching."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._inotify:
            if self._loop.watched(self._inotify.fileno()):
                self._loop.unwatch(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None
        self._places = {}

    def _listen(self) -> None:
        self._timer = None
        assert self._inotify
        if not self._loop.watched(self._inotify.fileno()):
            self._loop.watch(self._inotify.fileno(), READ, self._read)

    def _read(self, _mask: int) -> None:
        assert self._inotify
        # A busy directory must not keep the loop busy: pause, and read many events together.
        self._loop.unwatch(self._inotify.fileno())
        self._timer = self._loop.at(time.monotonic() + _PAUSE, self._listen)
        began = time.process_time()
        self._read_events()
        pause = (time.process_time() - began) / _SHARE
        if self._timer and pause > _PAUSE:
            self._timer.cancel()
            self._timer = self._loop.at(time.monotonic() + pause, self._listen)

    def _read_events(self) -> None:
        assert self._inotify
        steps: list[Step] = []
        again = False
        for event in self._inotify.read():
            again |= self._take(event, steps)
        before = {*self._there}
        if again:
            self._follow_all()
        for path, what, through in steps:
            # A change on the way to a path that still does not exist is no change of that path.
            if through & (before | {*self._there}):
                self._changed(path, what)

    def _take(self, event: Event, steps: list[Step]) -> bool:
        """Note a change; return whether the directories must be read again."""
        if event.mask & inotify.OVERFLOW:
            self._changed(UNKNOWN, What.CHANGED)
            return True
        place = self._places.get(event.watch)
        if place is None:
            return False
        if event.mask & (inotify.IGNORED | inotify.UNMOUNT):
            del self._places[event.watch]
            return bool(event.mask & inotify.UNMOUNT)
        through = place.steps.get(event.name)
        below = place.tree and not is_ignored(event.name, self._patterns)
        if not (through or below):
            return False
        path = os.path.join(place.path, event.name)
        what = _what(event.mask, path)
        replaced = bool(event.mask & _REPLACED)
        if below:
            self._changed(path, what)
            if replaced and event.mask & inotify.ISDIR:
                self._branch(path, what)
        elif through:
            steps.append((path, what, through))
        return replaced and bool(through)

    def _branch(self, path: str, what: What) -> None:
        """Take note of a new or removed directory in a tree."""
        if what is not What.GONE:
            self._walk(path)
            return
        # It may have been moved away, together with the watched directories in it.
        for number, place in tuple(self._places.items()):
            if f"{place.path}/".startswith(f"{path}/"):
                del self._places[number]
                self._remove(number)

    def _follow_all(self) -> None:
        """Follow all paths and watch what is found; stop watching the rest."""
        before, self._places = self._places, {}
        there, trees = {}, []
        for path in self._paths:
            if target := self._follow(path):
                there[path] = target
                if os.path.isdir(target):
                    trees.append(target)
        self._gone = (self._gone | {*self._there}) - {*there}
        self._there = there
        for target in trees:
            self._walk(target)
        for number in before.keys() - self._places.keys():
            self._remove(number)

    def _remove(self, number: int) -> None:
        assert self._inotify
        try:
            self._inotify.remove(number)
        except OSError:
            pass  # The directory is gone.

    def _follow(self, path: str) -> str:
        """Return the target of a path, all links resolved, or ""; watch each step on the way."""
        here, links = "/", 0
        names = path.split("/")
        while names:
            name = names.pop(0)
            if name in ("", ".", ".."):
                here = os.path.dirname(here) if name == ".." else here
                continue
            if place := self._add(here, path):
                place.steps.setdefault(name, set()).add(path)
            here, before = os.path.join(here, name), here
            try:
                target = os.readlink(here)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    return ""
                continue  # Not a symbolic link.
            links += 1
            if links > _MOST_LINKS:
                return ""
            names = target.split("/") + names
            here = "/" if target.startswith("/") else before
        return here

    def _walk(self, top: str) -> None:
        """Watch a directory and all directories below it, parents first."""
        directories = [top]
        for directory in directories:
            if len(self._places) >= MOST:
                self._fail(f"{top}: more than {MOST} directories; watch fewer")
                return
            place = self._add(directory, directory)
            if place is not None and not place.tree:
                place.tree = True
                directories += self._subdirectories(directory)

    def _subdirectories(self, directory: str) -> Iterator[str]:
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    # Do not compare a hundred thousand files with each pattern.
                    if not entry.is_dir(follow_symlinks=False):
                        continue
                    if not is_ignored(entry.name, self._patterns):
                        yield entry.path
        except OSError:
            return  # Gone again, or not readable, which was reported.

    def _add(self, directory: str, wanted: str) -> _Place | None:
        """Watch a directory; return None if that fails."""
        assert self._inotify
        try:
            number = self._inotify.add(directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._fail(f"{wanted}: cannot watch {directory}: {_reason(error)}")
            return None
        return self._places.setdefault(number, _Place(directory))

    def _fail(self, problem: str) -> None:
        """Report a problem, once."""
        if problem not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(problem)
            self._problem(problem)


def _reason(error: OSError) -> str:
    limit = _NO_MORE.get(error.errno or 0)
    return f"{limit} is reached; raise it" if limit else str(error.strerror)


def _what(mask: int, path: str) -> What:
    if mask & (inotify.DELETE | inotify.MOVED_FROM):
        return What.GONE
    if not mask & inotify.CREATE:
        return What.CHANGED
    try:
        found = os.lstat(path)
    except OSError:
        return What.BEGUN  # Gone already, which the next event says.
    # A hard link appears with its content.
    begun = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    return What.BEGUN if begun else What.CHANGED
