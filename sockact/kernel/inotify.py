"""Changes in directories: inotify(7), Linux 2.6.36.

A directory is watched for entries that are created, removed, renamed, or closed after writing; not
for reads, for writes to files that stay open, or for changes of owner, mode and times.
"""

from __future__ import annotations

import os
import struct

from sockact.core.record import dataclass
from sockact.kernel import libc

# linux/inotify.h
CLOSE_WRITE = 0x8
MOVED_FROM, MOVED_TO = 0x40, 0x80
CREATE, DELETE = 0x100, 0x200
UNMOUNT, OVERFLOW, IGNORED = 0x2000, 0x4000, 0x8000
ISDIR = 0x40000000
_ONLYDIR = 0x01000000
_WANTED = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | _ONLYDIR

_EVENT = struct.Struct("@iIII")  # struct inotify_event: wd, mask, cookie, length of the name
_MOST_READ = 1 << 14


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to the entry `name` of a directory; `mask` has one of the bits above."""

    watch: int
    mask: int
    name: str


class Inotify:
    """An inotify instance, readable when there are events.

    Raises OSError: EMFILE at fs.inotify.max_user_instances.
    """

    def __init__(self, fd: int | None = None) -> None:
        """`fd` is an existing instance, with its watches and events."""
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._fd = libc.call("inotify_init1", flags) if fd is None else fd

    def fileno(self) -> int:
        return self._fd

    def add(self, directory: str) -> int:
        """Watch a directory. Returns the number of the watch, the same for every path to it.

        Raises OSError: ENOSPC at fs.inotify.max_user_watches, EACCES if the directory may not be
        read, ENOENT, ENOTDIR.
        """
        return libc.call("inotify_add_watch", self._fd, os.fsencode(directory), _WANTED)

    def remove(self, watch: int) -> None:
        """Stop watching. Raises OSError if there is no such watch: the directory is gone."""
        libc.call("inotify_rm_watch", self._fd, watch)

    def read(self) -> list[Event]:
        """Some of the pending events; an empty list if there are none."""
        try:
            data = os.read(self._fd, _MOST_READ)
        except BlockingIOError:
            return []
        found = []
        at = 0
        while at < len(data):
            watch, mask, _cookie, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            name = data[at : at + length].rstrip(b"\0")
            at += length
            found.append(Event(watch, mask, os.fsdecode(name)))
        return found

    def close(self) -> None:
        os.close(self._fd)
