"""The history of a service, which outlives its supervisor.

docs/limits.md: failed generations, and starts of the supervisor, which systemd counts as well
(StartLimitBurst=). docs/metrics.md: the ledger.
"""

from __future__ import annotations

import time

from sockact.core.history import recovery
from sockact.core.history.failures import MOST, Failure, Window, describe
from sockact.core.history.ledger import Account, Failures, LedgerEntry, Span, Times, Totals
from sockact.core.history.pauses import PauseEntry
from sockact.core.json_data import Reader, plain
from sockact.core.numbers import is_count, is_time
from sockact.supervisor.records.ledger import Ledger
from sockact.supervisor.records.state_dir import StateFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.json_data import Json
    from sockact.core.lifecycle.model import Handover
    from sockact.supervisor.records.carried_state import CarriedHistory

    Clock = Callable[[], float]

FILE = "starts.json"
_LONGEST = 4096
"""Characters of a reason that are read from the file."""
_READER = Reader(Account, Failures, LedgerEntry, PauseEntry, Span, Times, Totals)


class History:
    """Kept in the state directory, or only in memory if that is not writable."""

    def __init__(
        self,
        directory: str,
        window: Window,
        notice: Callable[[str], None],
        clock: Clock = time.time,
        carried: CarriedHistory | None = None,
        version_of: Callable[[int], str] = lambda _generation: "",
    ) -> None:
        """`notice` is called once if the state directory is not writable. `version_of` is for the
        ledger. With `carried`, from an upgrade, no start is counted.
        """
        self._file = StateFile(directory, FILE)
        self._window = window
        self._notice: Callable[[str], None] | None = notice
        self._clock = clock
        known = self._file.read()
        data = known if isinstance(known, dict) else {}
        # Earlier versions carry no ledger over, but may have left one in the file.
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
        """Return the state to carry over an upgrade."""
        from sockact.supervisor.records.carried_state import CarriedHistory

        return CarriedHistory(self._failures, self._starts, self.ledger.account)

    def failed(self, generation: int, reason: str) -> None:
        """Record the failure of a generation."""
        self._failures = (*self._failures, Failure(self._clock(), generation, reason))[-MOST:]
        self.ledger.failed()
        self._save()

    def refused(self, handover: Handover) -> None:
        """Record the failure of a handover and of its successor."""
        self.ledger.explained(handover)
        self.failed(handover.successor, handover.reason)

    def set_limits(self, interval: float, burst: int) -> None:
        """Apply these limits from now on, also to earlier failures."""
        self._window = Window(interval, burst)

    def reset(self) -> None:
        """Clear the failures."""
        self._failures = ()
        self._save()

    def reload_succeeded(self) -> None:
        """Clear the failures if they were so many that this reload had to be forced."""
        if self.full():
            self.reset()

    def full(self) -> bool:
        """Whether there are so many failures that a reload must be forced."""
        return self._window.is_full(self._failures, self._clock())

    def describe(self) -> str:
        """Return the recent failures in words; "" if there are none."""
        return describe(self._window.recent(self._failures, self._clock()), self._window.interval)

    def status(self) -> Json:
        """Return the Starts of docs/control.md."""
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
                self._notice(
                    f"cannot save counters to {path} ({error.strerror}); they will be lost on exit"
                )
                self._notice = None


def _account(found: object) -> Account:
    """Return the account, or a new one if this is none or is from a newer version."""
    try:
        return recovery.recovered(_READER.read(Account, found)) or Account()
    except (ValueError, OverflowError):
        return Account()


def _failures(found: object) -> tuple[Failure, ...]:
    """Return the failures that can be read."""
    entries = found if isinstance(found, list) else []
    good = []
    for entry in entries[-MOST:]:
        match entry:
            case [at, generation, str() as reason] if is_time(at) and is_count(generation):
                good.append(Failure(float(at), generation, reason[:_LONGEST]))
    return tuple(good)


def _times(found: object) -> tuple[float, ...]:
    entries = found if isinstance(found, list) else []
    return tuple(float(at) for at in entries if is_time(at))[-MOST:]
