"""Time spans in the syntax of systemd.time(7)."""

from __future__ import annotations

import re

_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-zµμ]*)")
_UNITS = {
    **dict.fromkeys(("us", "usec", "µs", "μs"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
    **dict.fromkeys(("month", "months"), 30.44 * 86400.0),
    **dict.fromkeys(("y", "year", "years"), 365.25 * 86400.0),
}


LONGEST = 7 * 86400.0
"""Seconds. A wait beyond what epoll_wait can express (24 days) is nobody's timeout."""


def seconds(text: str) -> float:
    """Parse a time span such as 90, 500ms or 1min 30s into seconds. Raises ValueError."""
    total = 0.0
    position = 0
    text = text.strip()
    while position < len(text) or not position:
        part = _PART.match(text, position)
        if not part or part[2] not in _UNITS:
            raise ValueError(
                f"{text!r} is not a time span; use, for example, 90, 500ms or '1min 30s'"
            )
        total += float(part[1]) * _UNITS[part[2]]
        position = part.end()
    return total


def text(seconds: float) -> str:
    """A time span as it is typed, to the millisecond: 90s, 2min or 1500ms."""
    if seconds >= 60 and seconds % 60 == 0:
        return f"{seconds / 60:.0f}min"
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds * 1000:.0f}ms"
