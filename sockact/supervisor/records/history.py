"""What one service remembers across restarts of its supervisor.

docs/limits.md: the failures, and the starts of the supervisor. systemd counts those
(StartLimitBurst=); we count the generations that came to nothing. docs/metrics.md: the ledger.
"""

from __future__ import annotations

import time

from sockact.core.history import ledger
from sockact.core.history.failures import MOST, Failure, Window, describe
from sockact.core.history.ledger import Account, Failures, LedgerEntry, Span, Times, Totals
from sockact.core.plain import Reader, plain
from sockact.supervisor.records.carried_state import CarriedHistory
from sockact.supervisor.records.ledger import Ledger
from sockact.supervisor.records.state_dir import StateFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeGuard

    from sockact.core.plain import Json

    Clock = Callable[[], float]

FILE = "starts.json"
_NO_TIME = 1e12
"""Seconds since 1970."""
_READER = Reader(Account, Failures, LedgerEntry, Span, Times, Totals)


class History:
    """Kept in the state directory; in memory alone where that cannot be written."""

    def __init__(
        self,
        directory: str,
        window: Window,
        notice: Callable[[str], None],
        clock: Clock = time.time,
        carried: CarriedHistory | None = None,
        version_of: Callable[[int], str] = lambda _generation: "",
    ) -> None:
        """`version_of` is for the ledger. `carried` is of the supervisor whose place we take: then
        nothing starts.
        """
        self._file = StateFile(directory, FILE)
        self._window = window
        self._notice: Callable[[str], None] | None = notice
        self._clock = clock
        known = self._file.read()
        data = known if isinstance(known, dict) else {}
        # An earlier version carries no ledger, but may have found one.
        account = carried and carried.account
        self.ledger = Ledger(account or _account(data.get("ledger")), self._save, clock, version_of)
        if carried is not None:
            self._failures, self._starts = carried.failures, carried.starts
            return
        self._failures = _failures(data.get("failures"))
        self._starts = (*_times(data.get("starts")), clock())[-MOST:]
        self.ledger.started()
        self._save()

    def carried(self) -> CarriedHistory:
        """For the supervisor that takes our place."""
        return CarriedHistory(self._failures, self._starts, self.ledger.account)

    def failed(self, generation: int, reason: str) -> None:
        """A generation came to nothing."""
        self._failures = (*self._failures, Failure(self._clock(), generation, reason))[-MOST:]
        self.ledger.failed()
        self._save()

    def limit(self, interval: float, burst: int) -> None:
        """Other limits hold from now on, for what has failed already, too."""
        self._window = Window(interval, burst)

    def reset(self) -> None:
        """Forget the failures."""
        self._failures = ()
        self._save()

    def mended(self) -> None:
        """A reload has succeeded: if it had to be asked for expressly, the next one has not."""
        if self.full():
            self.reset()

    def full(self) -> bool:
        """Are there so many failures that one more attempt has to be asked for expressly?"""
        return self._window.is_full(self._failures, self._clock())

    def describe(self) -> str:
        """In words; "" when nothing failed lately."""
        return describe(self._window.recent(self._failures, self._clock()), self._window.interval)

    def status(self) -> Json:
        """The Starts of docs/control.md."""
        recent = self._window.recent(self._failures, self._clock())
        return {
            "interval_seconds": self._window.interval,
            "burst": self._window.burst,
            "failures": [
                {
                    "at_usec": round(failure.at * 1_000_000),
                    "generation": failure.generation,
                    "reason": failure.reason,
                }
                for failure in recent
            ],
            "supervisor_starts_usec": [round(at * 1_000_000) for at in self._starts],
        }

    def _save(self) -> None:
        failures = [[failure.at, failure.generation, failure.reason] for failure in self._failures]
        try:
            self._file.write(
                {
                    "failures": failures,
                    "starts": list(self._starts),
                    "ledger": plain(self.ledger.account),
                }
            )
        except OSError as error:
            if self._notice:
                path = self._file.path
                self._notice(f"{path}: {error.strerror}: what it counts is forgotten at its end")
                self._notice = None


def _account(found: object) -> Account:
    """A new one where that is none, or is of a newer version."""
    try:
        return ledger.recovered(_READER.read(Account, found)) or Account()
    except (ValueError, OverflowError):
        return Account()


def _failures(found: object) -> tuple[Failure, ...]:
    """What can be read of it."""
    entries = found if isinstance(found, list) else []
    good = []
    for entry in entries[-MOST:]:
        match entry:
            case [at, int() as generation, str() as reason] if _is_time(at):
                good.append(Failure(float(at), generation, reason))
    return tuple(good)


def _times(found: object) -> tuple[float, ...]:
    entries = found if isinstance(found, list) else []
    return tuple(float(at) for at in entries if _is_time(at))[-MOST:]


def _is_time(found: object) -> TypeGuard[float]:
    """Any number that a clock may show: JSON has others."""
    return isinstance(found, int | float) and 0 <= found < _NO_TIME
