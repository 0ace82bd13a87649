"""The page in which this process counts its requests; the supervisor reads it.

A memfd of WORDS native 64-bit words:

    0          VERSION
    1          responses that were not completed: reset, cut off, or never begun
    2 to 6     responses by class, 1xx to 5xx
    7 to 222   the same, by `bucket` of their duration; 1xx are left out, because an upgraded
               connection takes as long as it lasts

Only while there is a page, anything is counted. Nothing here raises an exception into the program.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from itertools import count, repeat

from .. import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
SHORTEST = 1e-5
PER_OCTAVE = 8
BUCKETS = 27 * PER_OCTAVE

RESET = 0
"""In place of a status: the response was not completed, through no fault of the client."""
LEFT = 499
"""The client has closed the connection before the end of the response: nginx's status for it."""

_KINDS = 6
_FIRST_KIND = 1
_FIRST_BUCKET = _FIRST_KIND + _KINDS
WORDS = _FIRST_BUCKET + BUCKETS
SIZE = 8 * WORDS

# sys/mman.h; not in Python's modules except mmap, which keeps a descriptor of the file and closes
# its number in the end, whatever the program has opened there meanwhile.
_READ_WRITE = 3
_SHARED = 0x01
_FIXED = 0x10

_page: _Page | None = None
# Where pages are mapped. It is never unmapped, because another thread may be writing to it.
_address: int | None = None


class _Page:
    __slots__ = ("_add", "inode", "pid", "since")

    def __init__(self, address: int, inode: int) -> None:
        words = (ctypes.c_uint64 * WORDS).from_address(address)
        self.inode = inode
        self.pid = os.getpid()
        self.since = monotonic()
        # `next` of one of these is an addition in a single call of C, so that no thread gets in
        # between; and a value that is written late would be put right by the next one.
        self._add = [
            map(words.__setitem__, repeat(at), count(words[at] + 1)) for at in range(WORDS)
        ]

    def count(self, kind: int, seconds: float) -> None:
        next(self._add[_FIRST_KIND + kind])
        if kind != 1:
            next(self._add[_FIRST_BUCKET + bucket(seconds)])


def bucket(seconds: float) -> int:
    """The bucket that counts this duration: floor(8 · log2(seconds / 10 µs)), from 0 to 215."""
    if seconds <= SHORTEST:
        return 0
    return min(BUCKETS - 1, int(math.log2(seconds / SHORTEST) * PER_OCTAVE))


def begin() -> float:
    """The time, as a request begins; 0.0 if nothing is counted."""
    return 0.0 if _page is None else monotonic()


def end(began: float, status: Any) -> None:
    """Count a request that began then, if it is to be counted.

    The status is RESET, LEFT, or what `int` takes. A request with another one is not counted.
    """
    page = _page
    if page is None or began < page.since:
        return
    try:
        kind = min(max(int(status) // 100, RESET), _KINDS - 1)
    except (TypeError, ValueError, OverflowError):
        return
    page.count(kind, monotonic() - began)


def finish(one: Any, status: Any) -> None:
    """As `end`, once, for the request that began at `_sockact_began` of this object."""
    if _page is not None:
        end(one.__dict__.pop("_sockact_began", 0.0), status)


def start(fd: int) -> None:
    """Count in this page from now on. Raises OSError, or ValueError if it is of another version."""
    global _page, _address
    status = os.fstat(fd)
    if _page is not None and _page.inode == status.st_ino:
        return
    version = int.from_bytes(os.pread(fd, 8, 0), sys.byteorder)
    if status.st_size != SIZE or version != VERSION:
        raise ValueError(f"version {version} of the page, not {VERSION}")
    _address = _map(fd, _address)
    _page = _Page(_address, status.st_ino)


def stop() -> None:
    """Count no more."""
    global _page
    _page = None


def _map(fd: int, address: int | None) -> int:
    """Map the page, in place of the one at `address`. Raises OSError."""
    mmap = ctypes.CDLL(None, use_errno=True).mmap
    mmap.restype = ctypes.c_void_p
    mmap.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        *(ctypes.c_int, ctypes.c_int, ctypes.c_int),
        ctypes.c_long,
    )
    flags = _SHARED if address is None else _SHARED | _FIXED
    found: int = mmap(address, SIZE, _READ_WRITE, flags, fd, 0)
    if found == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found


def _forked() -> None:
    """Do not write to the parent's page. The child may have got one of its own already: the signal
    that brings an order is handled before this, or in the midst of it.
    """
    global _page
    child = os.getpid()  # The last call: from here on, no signal is handled.
    if _page is not None and _page.pid != child:
        _page = None


os.register_at_fork(after_in_child=_forked)
