"""Lines on their way into a log: docs/logs.md says what is guaranteed for them.

`Lines` splits the data of a pipe into whole lines. `Backlog` holds the lines that are not written
yet, up to a limit, and counts what it drops. Neither knows of files: the writer says how much it
has written. Each source (a pipe) has a number.
"""

from __future__ import annotations

from sockact.core.record import dataclass

LONGEST = 1 << 16
"""Longest line that is passed on whole, in bytes; a longer one is passed on in parts."""

_END = b"\n"
_NOBODY = -1
"""Stands for the source of an open line whose rest was dropped."""


class Lines:
    """Splits the data of one pipe into lines."""

    def __init__(self) -> None:
        self._rest = b""
        self._in_parts = False

    def feed(self, data: bytes) -> bytes:
        """Add data. Returns whole lines, or parts of a line that is longer than LONGEST."""
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
        """The pipe has been closed. Returns the last line, with a newline."""
        rest, self._rest = self._rest, b""
        return rest + _END if rest or self._in_parts else b""


@dataclass(frozen=True)
class Gap:
    """Lines that are missing from the log; times are those that `put` was given."""

    lines: int
    size: int
    """Bytes of these lines."""
    first: float
    last: float


class Backlog:
    """The lines that one log has not written yet.

    Once a line is dropped, so are all that follow until everything that waits has been written. So
    there is one gap, after the lines that waited; the caller reports `close_gap` in that place.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is the size of what may wait, in bytes."""
        self.waiting = bytearray()
        """The bytes to write next; call `taken` afterwards."""
        self.half = b""
        """The part of the first waiting line that has been written already."""
        self.dropped_lines = 0
        self.dropped_size = 0
        self._limit = limit
        self._gap: Gap | None = None
        self._open_by: int | None = None
        self._cut: set[int] = set()
        self._own = 0
        """Number of lines at the beginning of `waiting` that the writer has added itself."""

    def put(self, source: int, data: bytes, now: float) -> None:
        """Add lines of a source, as `Lines` returns them, or drop what exceeds the limit."""
        if source in self._cut:
            data = self._skip(source, data)
        if not data:
            return
        kept = self._fits(source, data)
        if kept:
            if self._open_by not in (None, source):
                # End the open line of another source; more of it may follow or not.
                self.waiting += _END
            self.waiting += data[:kept]
            self._open_by = None if data[kept - 1 : kept] == _END else source
        if kept < len(data):
            self._drop(source, data[kept:], now)

    def add(self, line: bytes) -> None:
        """Add a whole line of the writer's own, regardless of the limit."""
        own = line if self._open_by is None else _END + line
        self.waiting += own
        self._own = own.count(_END)
        self._open_by = None

    def taken(self, size: int) -> None:
        """`size` bytes of `waiting` have been written."""
        start = self.waiting.rfind(_END, 0, size) + 1
        head = b"" if start else self.half
        # Of a line in parts only the end is known then, so it cannot be taken back.
        self.half = (head + self.waiting[start:size])[-LONGEST:]
        if self._own:
            self._own = max(0, self._own - self.waiting.count(_END, 0, size))
        del self.waiting[:size]

    def take_back(self) -> int:
        """Begin with a whole line again, because another file follows. Returns the number of bytes
        of that line that are in the previous file.
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
        """End the gap, if there is one, and return it: the lines missing before those to come."""
        found, self._gap = self._gap, None
        return found

    def give_up(self) -> None:
        """Drop everything that waits, and count it."""
        unended = bool(self.waiting) and not self.waiting.endswith(_END)
        self.dropped_lines += self.waiting.count(_END) - self._own + unended
        self.dropped_size += len(self.waiting)
        self.waiting.clear()
        self._own = 0

    def _skip(self, source: int, data: bytes) -> bytes:
        """Drop the rest of a line of which a part was dropped; returns what follows it."""
        end = data.find(_END) + 1
        if end:
            self._cut.discard(source)
        self.dropped_size += end or len(data)
        return data[end:] if end else b""

    def _fits(self, source: int, data: bytes) -> int:
        """The number of bytes that there is room for, in whole lines."""
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
