"""The page in which one process counts its requests: sockact/shim/sockact_shim/counting/page.py.

The process can write to it whatever it likes, at any time, also while it is read. It is read with
pread(2), because memory that is mapped can cost the reader a SIGBUS: the process may punch holes
into the file, which seals do not forbid, and there may be no memory to fill them. It is never
written to, because write(2) takes a lock that the process can hold for as long as it likes.
"""

from __future__ import annotations

import os
from array import array

from sockact.core.canary.sample import BUCKETS
from sockact.kernel import memfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
RESETS = 0
ERRORS = 5
KINDS = 6
"""Counters of how a request ended: RESETS, then classes of status, of which ERRORS is 5xx."""
COUNTERS = KINDS + BUCKETS
SIZE = 8 * (1 + COUNTERS)
MOST = 1_000_000
"""What a counter may grow by between two looks. The rest counts at the next one."""


class CountedPage:
    """One page."""

    def __init__(self) -> None:
        """Raises OSError."""
        head = array("Q", [VERSION, *(0 for _ in range(COUNTERS))])
        self._fd: int | None = memfd.fixed("sockact-counts", head.tobytes())
        self._seen = b""
        self._counters = [0] * COUNTERS

    def fileno(self) -> int | None:
        """Return the descriptor for the process; None once the page is closed."""
        return self._fd

    def close(self) -> None:
        """Close the page."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @property
    def used(self) -> bool:
        """Whether anything has been counted."""
        return any(self._counters)

    def add_to(self, totals: list[int]) -> None:
        """Add what has been counted since the last time. Raises OSError.

        No total shrinks, none grows by more than MOST, and there are never more durations than
        requests. Nothing is added once the page is closed.
        """
        if self._fd is None:
            return
        seen = os.pread(self._fd, SIZE, 0)
        if seen == self._seen:
            return
        self._seen = seen
        # Nothing says that a word is copied at once: 0xff that becomes 0x100 could be read as
        # 0x1ff. The lower one of two looks is never too high.
        now = [*map(min, _words(seen), _words(os.pread(self._fd, SIZE, 0)))]
        changed = [at for at in range(COUNTERS) if now[at] != self._counters[at]]
        for at in (at for at in changed if at < KINDS):
            self._take(at, now[at], MOST, totals)
        room = sum(self._counters[:KINDS]) - sum(self._counters[KINDS:])
        for at in (at for at in changed if at >= KINDS):
            room -= self._take(at, now[at], room, totals)

    def _take(self, at: int, now: int, most: int, totals: list[int]) -> int:
        grown = min(max(0, now - self._counters[at]), most)
        self._counters[at] += grown
        totals[at] += grown
        return grown


def _words(data: bytes) -> Sequence[int]:
    return array("Q", data)[1:]
