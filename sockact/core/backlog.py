"""Lines on their way into a log: docs/logs.md says what is promised of them.

`Lines` cuts what a pipe brings into whole lines. `Backlog` holds what a log has not taken yet, up
to its limit, and counts what finds no room. Neither knows of files: whoever writes tells how much
was taken. Sources are told apart by a number.
"""

from __future__ import annotations

from sockact.core.record import dataclass

LONGEST = 1 << 16
"""Bytes of a line that are waited for; one that is longer is passed on in parts."""

_END = b"\n"
_NOBODY = -1
"""Whose line stands open when its rest was dropped: no source has this number."""


class Lines:
    """Of one pipe."""

    def __init__(self) -> None:
        self._rest = b""
        self._in_parts = False

    def feed(self, data: bytes) -> bytes:
        """What can be passed on: whole lines, and parts of one that is longer than LONGEST."""
        cut = data.rfind(_END) + 1
        if cut:
            found, self._rest = self._rest + data[:cut], data[cut:]
            self._in_parts = False
        else:
            found = b""
            self._rest += data
        if len(self._rest) > LONGEST:
            found, self._rest = found + self._rest, b""
            self._in_parts = True
        return found

    def end(self) -> bytes:
        """The pipe is at its end: the last line, ended where its writer has not done so."""
        rest, self._rest = self._rest, b""
        return rest + _END if rest or self._in_parts else b""


@dataclass(frozen=True)
class Gap:
    """Lines that are missing from the log; the times are those that `put` was told."""

    lines: int
    size: int
    """In bytes."""
    first: float
    last: float


class Backlog:
    """What one log has not taken yet.

    Once something finds no room, all that comes is dropped until everything that waits has been
    written: so there is one gap, after what waited, and `close_gap` is to be told at its place.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes."""
        self.waiting = bytearray()
        """To be written, in this order; `taken` has to follow."""
        self.half = b""
        """The beginning of the first waiting line that the log has taken already."""
        self.dropped_lines = 0
        self.dropped_size = 0
        self._limit = limit
        self._gap: Gap | None = None
        self._open_by: int | None = None
        self._cut: set[int] = set()
        self._own = 0
        """So many lines at the beginning of `waiting` are the writer's own."""

    def put(self, source: int, data: bytes, now: float) -> None:
        """Take lines of this source, as `Lines` gives them, or drop what finds no room."""
        if source in self._cut:
            data = self._skip(source, data)
        if not data:
            return
        kept = self._fits(source, data)
        if kept:
            if self._open_by not in (None, source):
                # The line of somebody else stands open, of which more may follow or not.
                self.waiting += _END
            self.waiting += data[:kept]
            self._open_by = None if data[kept - 1 : kept] == _END else source
        if kept < len(data):
            self._drop(source, data[kept:], now)

    def add(self, line: bytes) -> None:
        """A whole line of the writer's own, for which there is always room."""
        own = line if self._open_by is None else _END + line
        self.waiting += own
        self._own = own.count(_END)
        self._open_by = None

    def taken(self, size: int) -> None:
        """So many bytes of `waiting` are in the log."""
        start = self.waiting.rfind(_END, 0, size) + 1
        head = b"" if start else self.half
        # Of a line in parts only the end is known then: it cannot be taken back.
        self.half = (head + self.waiting[start:size])[-LONGEST:]
        if self._own:
            self._own = max(0, self._own - self.waiting.count(_END, 0, size))
        del self.waiting[:size]

    def take_back(self) -> int:
        """What follows goes to another file: begin with a whole line. How many bytes of its
        beginning are in the file before.
        """
        half, self.half = self.half, b""
        if not self.waiting:
            self._open_by = None
            return 0
        if len(half) >= LONGEST:
            return 0
        self.waiting[:0] = half
        return len(half)

    def close_gap(self) -> Gap | None:
        """What is missing just here, before what comes next."""
        found, self._gap = self._gap, None
        return found

    def give_up(self) -> None:
        """Count all that waits as dropped."""
        unended = bool(self.waiting) and not self.waiting.endswith(_END)
        self.dropped_lines += self.waiting.count(_END) - self._own + unended
        self.dropped_size += len(self.waiting)
        self.waiting.clear()
        self._own = 0

    def _skip(self, source: int, data: bytes) -> bytes:
        """Leave the rest of a line out of which something was dropped; what follows it."""
        end = data.find(_END) + 1
        if end:
            self._cut.discard(source)
        self.dropped_size += end or len(data)
        return data[end:] if end else b""

    def _fits(self, source: int, data: bytes) -> int:
        """How many bytes find room, in whole lines."""
        room = 0 if self._gap else self._limit - len(self.waiting)
        return len(data) if len(data) <= room else data.rfind(_END, 0, max(0, room)) + 1

    def _drop(self, source: int, data: bytes, now: float) -> None:
        lines = data.count(_END)
        if not data.endswith(_END):
            lines += 1
            self._cut.add(source)
        if self._open_by == source:
            self._open_by = _NOBODY
        self.dropped_lines += lines
        self.dropped_size += len(data)
        before = self._gap or Gap(0, 0, now, now)
        self._gap = Gap(before.lines + lines, before.size + len(data), before.first, now)
