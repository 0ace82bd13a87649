"""A path, walked directory by directory, and who has a say in where it leads.

open(2) with O_PATH and O_NOFOLLOW (Linux 2.6.39), one step at a time by descriptors: nothing that
is renamed or replaced meanwhile leads anywhere else, and no FIFO or device is touched. Unlike
openat2(2) with RESOLVE_NO_SYMLINKS, this can tell the links of root from those of others, and runs
on every kernel. All failures are OSErrors with the whole path as their file name.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

SOMEBODY = -1
"""The uid of whoever is in the group of a directory, or anybody where all may write."""

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
_LONGEST = 4096
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Found:
    """Where a path has led. Close it, or use it as a context manager."""

    def __init__(self, path: str, parent: int) -> None:
        self.path = path
        self.parent = parent
        """The directory that the last step was taken in."""
        self.name = "."
        """The last step."""
        self.fd = -1
        """O_PATH; -1 if there is nothing of that name."""
        self.controllers: frozenset[int] = frozenset()
        """Users, not trusted, who could have made the path lead somewhere else."""
        self.hidden = False
        """Whether not all of these may pass all directories on the way."""

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        for fd in {self.parent, self.fd} - {-1}:
            os.close(fd)
        self.parent = self.fd = -1

    def let_go(self) -> None:
        """Close what was found, but not the directory."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def stat(self) -> os.stat_result:
        """Return the status of the file that was found. Raises FileNotFoundError."""
        if self.fd < 0:
            self.refuse(errno.ENOENT)
        return os.fstat(self.fd)

    def reopen(self, flags: int) -> int:
        """A descriptor of the very file that was found, whatever has the name now."""
        self.stat()
        try:
            return os.open(f"/proc/self/fd/{self.fd}", flags | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from error

    def refuse(self, number: int, text: str = "") -> NoReturn:
        """Raise the OSError of this number for the whole path."""
        raise OSError(number, text or os.strerror(number), self.path)

    # For `find` only.

    def step_into(self) -> None:
        """Go on in the directory that was found."""
        os.close(self.parent)
        self.parent, self.fd, self.name = self.fd, -1, "."

    def look(self, name: str) -> bool:
        """Find this name in the directory; whether it is a symbolic link."""
        here = os.fstat(self.parent)
        if here.st_uid not in trusted():
            self.controllers |= {here.st_uid}
        elif here.st_mode & _WRITABLE_BY_OTHERS and not here.st_mode & stat.S_ISVTX:
            self.controllers |= {SOMEBODY}
        self.hidden |= not here.st_mode & stat.S_IXOTH and bool(self.controllers - {here.st_uid})
        self.name = name
        try:
            self.fd = os.open(name, _LOOK, dir_fd=self.parent)
        except FileNotFoundError:
            return False
        return stat.S_ISLNK(os.fstat(self.fd).st_mode)

    def target(self, foreign_links: bool) -> str:
        """Leave the link that was found; what it says, or "" if it is one of the kernel's own,
        whose target has then been found.
        """
        link = os.fstat(self.fd)
        if link.st_uid not in trusted():
            if not foreign_links:
                self.refuse(errno.ELOOP, f"a symbolic link of user {link.st_uid}")
            self.controllers |= {link.st_uid}
        text = os.readlink("", dir_fd=self.fd)
        os.close(self.fd)
        self.fd = -1
        # /proc/self/fd/1: what it says is no path, and only the kernel makes links there.
        if link.st_dev != os.stat("/proc").st_dev:
            return text
        self.fd = os.open(self.name, os.O_PATH | os.O_CLOEXEC, dir_fd=self.parent)
        return ""


def trusted() -> tuple[int, int]:
    """The users who could do by themselves all that this process does."""
    return 0, os.geteuid()


def find(path: str, *, foreign_links: bool = True, plain: int = 0) -> Found:
    """Walk this path; its last name need not exist.

    Without `foreign_links`, a symbolic link that is neither root's nor ours is refused (ELOOP). Of
    the last `plain` names none is followed, whosever link it is: the last one is found as the link
    that it is, each other one is refused.
    """
    if "\0" in path:
        raise OSError(errno.EINVAL, "not a path", path)
    found = Found(path, os.open("/" if path.startswith("/") else ".", os.O_PATH | os.O_CLOEXEC))
    try:
        _walk(found, path, foreign_links, plain)
    except OSError as error:
        found.close()
        raise OSError(error.errno, error.strerror, path) from error
    return found


def _walk(found: Found, path: str, foreign_links: bool, plain: int) -> None:
    steps = _steps(path)
    links = 0
    while steps:
        followed = len(steps) > plain
        name = steps.pop()
        if found.fd >= 0:
            found.step_into()
        elif found.name != ".":
            found.refuse(errno.ENOENT)
        if not found.look(name):
            continue
        if not followed:
            if steps:
                found.refuse(errno.ELOOP, "a symbolic link in the place of a directory")
            return
        links += 1
        if links > _MOST_LINKS:
            found.refuse(errno.ELOOP)
        if text := found.target(foreign_links):
            steps += _steps(text)
            if len(steps) > _LONGEST:
                found.refuse(errno.ENAMETOOLONG)
            found.name = "."
            if text.startswith("/"):
                os.close(found.parent)
                found.parent = os.open("/", os.O_PATH | os.O_CLOEXEC)
    if found.name == ".":
        found.fd = os.open(".", _LOOK, dir_fd=found.parent)


def _steps(path: str) -> list[str]:
    """The names in a path, the first one last."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
