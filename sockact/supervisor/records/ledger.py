"""The ledger of a service: its last handovers, each under an id, and the totals. docs/metrics.md.

History keeps it in the state directory; `save` is called after each change that must outlive the
supervisor.
"""

from __future__ import annotations

import os
import time

from sockact.core.history import ledger, pauses
from sockact.core.history.ledger import Account, LedgerEntry
from sockact.core.lifecycle import actions
from sockact.core.lifecycle.model import Phase
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockact.core.history.ledger import Times
    from sockact.core.history.pauses import PauseEntry
    from sockact.core.json_data import Json
    from sockact.core.lanes.unaccepted import Unaccepted
    from sockact.core.lifecycle.model import Handover, Pause, Service

_CAUSE = "supervisor"
"""The cause of a handover that nobody requested."""


class Ledger:
    """Records the handovers of a service as it changes."""

    def __init__(
        self,
        account: Account,
        save: Callable[[], None],
        clock: Callable[[], float] = time.time,
        version_of: Callable[[int], str] = lambda _generation: "",
    ) -> None:
        """`version_of` returns the version of a generation's release, "" while it is unknown."""
        self.account = account
        self._save = save
        self._clock = clock
        self._causes: dict[int, str] = {}
        self._closed: tuple[LedgerEntry, ...] = ()
        self._version_of = version_of

    def asked(self, service: Service, cause: str) -> None:
        """Note the cause of a handover; when requests share a handover, the first cause counts."""
        self._causes.setdefault(service.queued or service.last_handover + 1, cause)

    def stepped(self, service: Service, asked: Iterable[actions.Action], now: float) -> None:
        """Record a step: the service after it, and the actions that it asks for."""
        before = self.account.totals
        for action in asked:
            if isinstance(action, actions.Finish):
                self._begin(action.handover)
                self.account = ledger.finish(self.account, action.handover)
            elif isinstance(action, actions.Spawn):
                self._count_restart(service, action.number)
        if service.in_handover and service.handover is not None:
            self._begin(service.handover)
        self.account = ledger.name(self.account, self._version_of)
        open_ones = [one for one in self.account.entries if one.number]
        self.account = ledger.follow(self.account, service, now)
        left = {one.id for one in self.account.entries if one.number}
        # Messages about this step still belong to them.
        self._closed = tuple(one for one in open_ones if one.id not in left)
        if self._closed or self.account.totals != before:
            self._save()

    def explained(self, handover: Handover) -> None:
        """Record the reason of a failed handover; the caller saves."""
        self.account = ledger.explain(self.account, handover)

    def handover_id(self, generation: int) -> str:
        """Return the id of the handover that this generation takes part in, or ""."""
        entry = self.entry(generation)
        return entry.id if entry else ""

    def entry(self, generation: int) -> LedgerEntry | None:
        """Return the entry of the handover that this generation takes part in, if any."""
        entry = ledger.about(self.account.entries, generation)
        entry = entry or ledger.about(self._closed, generation)
        return entry if generation else None

    def newest(self, entry: LedgerEntry) -> LedgerEntry:
        """Return the entry as it is now."""
        return next((one for one in self.account.entries if one.id == entry.id), entry)

    def hook_failed(self, entry: LedgerEntry | None, event: str, text: str) -> None:
        """Record that a hook failed, as part of this handover or of none."""
        self.account = ledger.fail_hook(self.account, entry.id if entry else "", event, text)
        self._save()

    def forced(self, generation: int, connections: int) -> None:
        """Record that the generation is stopped while this many connections are in use."""
        if connections:
            self.account = ledger.force(self.account, generation, connections)
            self._save()

    def moved(self, generation: int, moved: int, returned: int) -> None:
        """Count open connections of the generation that another one has, or has not, got."""
        self.account = ledger.move(self.account, generation, moved, returned)
        self._save()

    def unaccepted(self, found: Unaccepted) -> None:
        """Count connections that their generation had not accepted."""
        self.account = ledger.leave(self.account, found)
        self._save()

    def paused(self, pause: Pause) -> None:
        """Record a pause by the operator, which has just ended."""
        entries = pauses.add(self.account.pauses, pause, self._clock())
        self.account = replace(self.account, pauses=entries)
        self._save()

    def failed(self) -> None:
        """Count a failed generation; the caller saves."""
        totals = self.account.totals
        self.account = replace(self.account, totals=replace(totals, failures=totals.failures + 1))

    def started(self) -> None:
        """Count a start of the supervisor; the caller saves."""
        totals = self.account.totals
        self.account = replace(self.account, totals=replace(totals, starts=totals.starts + 1))

    def unaccepted_so_far(self) -> Json:
        """Return the Unaccepted of docs/control.md."""
        totals = self.account.totals
        return {"passed_on": totals.passed_on, "reset": totals.reset}

    def status(self) -> Json:
        """Return the reply to History of docs/control.md."""
        totals = self.account.totals
        kinds = (
            ("reload", "committed", totals.reloads_committed),
            ("reload", "failed", totals.reloads_failed),
            ("rollback", "committed", totals.rollbacks_committed),
            ("rollback", "failed", totals.rollbacks_failed),
        )
        return {
            "handovers": [_entry(one) for one in self.account.entries],
            "pauses": {"last": [_pause(one) for one in self.account.pauses]},
            "totals": {
                "handovers": [
                    {"kind": kind, "outcome": outcome, "seconds": _times(times)}
                    for kind, outcome, times in kinds
                ],
                "drains": _times(totals.drains),
                "taken_back": totals.taken_back,
                "forced_closes": totals.forced,
                "failures": totals.failures,
                "restarts": totals.restarts,
                "supervisor_starts": totals.starts,
                "hook_failures": [{"event": one.event, "count": one.count} for one in totals.hooks],
                "canaries": [
                    {"outcome": "promoted", "count": totals.promoted},
                    {"outcome": "refused", "count": totals.refused},
                ],
                "moves": [
                    {"outcome": "moved", "count": totals.moved},
                    {"outcome": "returned", "count": totals.returned},
                ],
            },
        }

    def _begin(self, handover: Handover) -> None:
        if self.account.entry(handover.id) is not None:
            return
        entry = LedgerEntry(
            os.urandom(16).hex(),
            self._clock(),
            self._causes.pop(handover.id, _CAUSE),
            handover.rollback,
            handover.predecessor,
            handover.successor,
            number=handover.id,
        )
        self.account = ledger.begin(self.account, entry)

    def _count_restart(self, service: Service, number: int) -> None:
        handover = service.handover if service.in_handover else None
        launched_for_it = handover is not None and handover.successor == number
        if service.phase is not Phase.STARTING and not launched_for_it:
            totals = self.account.totals
            self.account = replace(
                self.account, totals=replace(totals, restarts=totals.restarts + 1)
            )


def _entry(entry: LedgerEntry) -> Json:
    """Return the HandoverRecord of docs/control.md."""
    return {
        "id": entry.id,
        "kind": "rollback" if entry.rollback else "reload",
        "cause": entry.cause,
        "requested_usec": round(entry.at * 1_000_000),
        "from": entry.predecessor,
        "to": entry.successor,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "duration_seconds": entry.seconds,
        "phases": [{"name": span.phase, "seconds": span.seconds} for span in entry.spans],
        "phase": entry.phase,
        "forced_closes": entry.forced,
        "from_version": entry.from_version,
        "to_version": entry.to_version,
        "hooks_failed": list(entry.hooks_failed),
        "moves": {"moved": entry.moved, "returned": entry.returned},
    }


def _pause(entry: PauseEntry) -> Json:
    """Return the PauseRecord of docs/control.md."""
    return {
        "began_usec": round(entry.at * 1_000_000),
        "seconds": entry.seconds,
        "complete": entry.complete,
        "reason": entry.reason,
    }


def _times(times: Times) -> Json:
    return {"bounds": list(ledger.BOUNDS), "counts": list(times.counts), "sum": times.sum}
