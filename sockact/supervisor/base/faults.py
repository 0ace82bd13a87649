"""Reports the supervisor's own bugs: exceptions that nothing has expected. docs/lifecycle.md.

One line for each place, with the file and line of each caller; then at most one a minute, so that
whoever provokes a bug cannot flood the journal.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_EVERY = 60.0
"""Seconds between two reports of the same place."""
_MOST_PLACES = 64
"""Places that are told apart; the others share one."""
_MOST_CALLERS = 4
_LONGEST = 200


class Faults:
    """Reports exceptions; `say` gets the messages."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic):
        self._say = say
        self._clock = clock
        self._places: dict[str, tuple[float, int]] = {}
        """Place → (when it was last reported, number of exceptions since then)."""

    def note(self, error: Exception) -> None:
        """Report the exception, unless its place was reported within the last minute."""
        place = f"{type(error).__name__} at {_place(error)}"
        if place not in self._places and len(self._places) >= _MOST_PLACES:
            place = "exception"
        now = self._clock()
        last, more = self._places.get(place, (now - _EVERY, 0))
        if now - last < _EVERY:
            self._places[place] = last, more + 1
            return
        self._places[place] = now, 0
        again = f" ({more} more in the last {now - last:.0f} s)" if more else ""
        self._say(f"internal error: {place}: {_text(error)}{again}; continuing, please report this")


def _place(error: Exception) -> str:
    """The callers of the place that raised it, the innermost first."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return " < ".join(places[: -_MOST_CALLERS - 1 : -1])


def _text(error: Exception) -> str:
    """The exception's own text, in one printable line."""
    text = str(error)[:_LONGEST]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
