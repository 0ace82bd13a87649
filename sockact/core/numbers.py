"""Numbers that others wrote: in an environment, a packet, a file in the state directory.

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
