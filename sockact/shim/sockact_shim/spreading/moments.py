"""When each connection ends while its generation drains: all at once, or spread over a time.

Each connection gets a moment of its own within that time, and ends with its first response after
it. So neither the number of the connections matters, nor how often each asks.
"""

from __future__ import annotations

import os

from .. import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The fractions of its multiples fill the range from 0 to 1 evenly, however many there are.
_STEP = 0.6180339887498949
_MOST = 100_000

_since = 0.0
_seconds = 0.0
# Where the moments of this process begin, so that those of many processes do not coincide.
_offset = 0.0
# id of a connection → its moment, from 0 to 1. Not an attribute: many have slots, or are C's.
_moments: dict[int, float] = {}


def begin(seconds: float) -> None:
    """Spread the closings of the drain that begins now over this time."""
    global _since, _seconds, _offset
    _moments.clear()
    _offset = _random()
    _since, _seconds = monotonic(), seconds


def due(connection: Any) -> bool:
    """Whether it is time for a connection to end, if connections are to end at all.

    `connection` is any object that lasts as long as the connection, and is always the same.
    """
    elapsed = monotonic() - _since
    return elapsed >= _seconds or elapsed >= _moment(id(connection)) * _seconds


def since() -> float:
    """When this drain began, if its closings are spread; `begin` changes it."""
    return _since


def moments(number: int) -> list[float]:
    """So many moments from 0 to 1, in even steps, for connections that are known as a whole."""
    offset = _random()
    return [(offset + at) / number for at in range(number)]


def _random() -> float:
    return int.from_bytes(os.urandom(4), "little") / 2**32


def _moment(key: int) -> float:
    # Threads may get the same one. There are no new connections during a drain, so there is at
    # most one entry for each; one whose id is used again is as good as any.
    count = len(_moments)
    if count >= _MOST:
        return 0.0
    return _moments.setdefault(key, (_offset + count * _STEP) % 1.0)
