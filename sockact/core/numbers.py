"""Numbers that others wrote: in an environment, a packet, a file in the state directory; and time
spans in the syntax of systemd.time(7).

int() and float() are not enough. int() refuses more than 4,300 digits with an exception, and takes
signs, spaces and underscores; JSON has numbers that no clock shows and no counter reaches.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeGuard

_DIGITS = 19
LARGEST = (1 << 53) - 1
"""The largest count that every reader of JSON reads exactly."""
LATEST = 1e12
"""Seconds since 1970; a later time is not one."""
LONGEST = 7 * 86400.0
"""Seconds. A wait beyond what epoll_wait can express (24 days) is nobody's timeout."""
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
_LETTERS = "".join(_UNITS)


def whole(text: str | bytes, largest: int = LARGEST) -> int | None:
    """The number that the text writes in ASCII digits; None if it is none, or above `largest`."""
    if len(text) > _DIGITS or not (text.isascii() and text.isdigit()):
        return None
    value = int(text)
    return value if value <= largest else None


def is_count(value: object) -> TypeGuard[int]:
    """Whether this is a whole number that a counter may have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def is_time(value: object) -> TypeGuard[float]:
    """Whether this is a number of seconds that a clock may show, or that something may last."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST


def seconds(text: str) -> float:
    """Parse a time span such as 90, 500ms or 1min 30s into seconds. Raises ValueError."""
    total, left = 0.0, text.strip()
    try:
        while True:
            number, left = _leading(left, "0123456789.")
            unit, left = _leading(left.lstrip(), _LETTERS)
            total += float(number) * _UNITS[unit]
            left = left.lstrip()
            if not left:
                return total
    except (ValueError, KeyError):
        raise ValueError(
            f"{text.strip()!r} is not a time span; use, for example, 90, 500ms or '1min 30s'"
        ) from None


def span(seconds: float) -> str:
    """A time span as it is typed, to the millisecond: 90s, 2min or 1500ms."""
    if seconds >= 60 and seconds % 60 == 0:
        return f"{seconds / 60:.0f}min"
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds * 1000:.0f}ms"


def _leading(text: str, characters: str) -> tuple[str, str]:
    """What a text begins with of these characters, and the rest."""
    rest = text.lstrip(characters)
    return text[: len(text) - len(rest)], rest
