"""Lock files beside socket files: the generations of a service hold such a lock together.

Twisted makes a symbolic link PATH.lock to its pid before it binds PATH, and refuses to start if
that process lives. It removes the link at the end, and only if it still names itself. So a
successor's link counts as made while the predecessor's is there, and names the successor as soon as
the predecessor removes it.

A program may have mounted a file system of its own there, so the helper looks (looks.py).
"""

from __future__ import annotations

import contextlib
import os
import stat

from sockact.kernel import procfs
from sockact.kernel.looks import apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SUFFIX = ".lock"
_MOST = 64
"""Number of processes that are remembered for a lock."""


class LockFiles:
    """The locks of a service."""

    def __init__(self, is_ours: Callable[[int], bool]) -> None:
        """`is_ours` returns whether a process belongs to the service. It may raise OSError."""
        self._is_ours = is_ours
        self._holders: dict[str, list[int]] = {}

    def made(self, path: str, pid: int) -> bool:
        """A process makes the link `path`. Whether it shares the lock with other processes of the
        service, so that the kernel must not make it. Raises Unavailable.
        """
        others = [other for other in self._living(path) if other != pid]
        owner = _owner(pid, path)
        if owner is not None and owner not in (pid, *others) and self._is_ours(owner):
            others.insert(0, owner)  # It made the lock before this supervisor took over.
        if others and owner is not None and (owner in others or not procfs.lives(owner)):
            shared = owner in others or _hand_over(pid, path, others[-1])
        else:
            others, shared = [], False
        self._holders[path] = [*others, pid][-_MOST:]
        return shared

    def removed(self, path: str, pid: int) -> bool:
        """A process removes the link `path`. Whether the kernel must not: others share the lock.

        Raises Unavailable.
        """
        holders = self._living(path)
        if pid not in holders:
            return False
        holders.remove(pid)
        self._holders[path] = holders
        return bool(holders) and _hand_over(pid, path, holders[-1])

    def _living(self, path: str) -> list[int]:
        return [pid for pid in self._holders.get(path, ()) if procfs.lives(pid)]


def lock_paths(paths: Iterable[str]) -> set[str]:
    """The lock files of these socket files."""
    return {path + SUFFIX for path in paths}


@apart
def _owner(_pid: int, path: str) -> int | None:
    """The pid in a lock; None if there is no lock, or something else is at its path."""
    try:
        text = os.readlink(path)
    except OSError:
        return None
    return int(text) if len(text) < 10 and text.isascii() and text.isdecimal() else None


@apart
def _hand_over(_pid: int, path: str, other: int) -> bool:
    """Let a lock name another process, and belong to the same user as before."""
    directory, name = os.path.split(path)
    try:
        within = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        before = os.stat(name, dir_fd=within, follow_symlinks=False)
        if not stat.S_ISLNK(before.st_mode):
            return False
        _replace(within, name, str(other), before)
    except OSError:
        return False
    finally:
        os.close(within)
    return True


def _replace(within: int, name: str, target: str, before: os.stat_result) -> None:
    """Replace a link in a directory. Raises OSError; then nothing has changed."""
    new = f"{name}.{target}"
    with contextlib.suppress(OSError):
        # A helper that was killed may have left it.
        if os.readlink(new, dir_fd=within) == target:
            os.unlink(new, dir_fd=within)
    os.symlink(target, new, dir_fd=within)
    try:
        os.chown(new, before.st_uid, before.st_gid, dir_fd=within, follow_symlinks=False)
        os.rename(new, name, src_dir_fd=within, dst_dir_fd=within)
    except OSError:
        os.unlink(new, dir_fd=within)
        raise
