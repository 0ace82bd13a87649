"""The last pauses by the operator, for the ledger. Field names are carried to other versions of
sockact: they never change.
"""

from __future__ import annotations

from sockact.core.numbers import is_time
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Pause

MOST = 50
"""Number of pauses that are remembered."""
_LONGEST = 400


@dataclass(frozen=True)
class PauseEntry:
    """A pause that has ended. `at` is when it began, CLOCK_REALTIME in seconds."""

    at: float
    seconds: float
    complete: bool
    """Nobody accepted connections any more."""
    reason: str
    """Why it ended."""

    @property
    def sound(self) -> bool:
        """Whether the values can be those of a pause."""
        return is_time(self.at) and is_time(self.seconds) and len(self.reason) <= _LONGEST


def add(entries: tuple[PauseEntry, ...], pause: Pause, clock: float) -> tuple[PauseEntry, ...]:
    """Add a pause that ends now, at `clock` of CLOCK_REALTIME."""
    seconds = max(0.0, (pause.ended or pause.since) - pause.since)
    entry = PauseEntry(clock - seconds, seconds, pause.complete, pause.reason[:_LONGEST])
    return (*entries, entry)[-MOST:]
