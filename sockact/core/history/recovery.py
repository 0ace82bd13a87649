"""The ledger that an earlier supervisor has left, as far as it can be trusted."""

from __future__ import annotations

from sockact.core.history.ledger import LONGEST, LOST, MOST, MOST_HOOKS, MOST_SPANS
from sockact.core.lifecycle.hooks import Hook
from sockact.core.lifecycle.model import Outcome
from sockact.core.numbers import is_count, is_time
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.history.ledger import Account, LedgerEntry

_EVENTS = (*(one.value for one in Hook),)
_OUTCOMES = (*(one.value for one in Outcome), LOST)


def recovered(account: Account) -> Account | None:
    """The ledger of an earlier supervisor, with every entry closed; None if it is invalid."""
    totals = account.totals
    counters = (
        *(totals.taken_back, totals.forced, totals.failures, totals.restarts, totals.starts),
        *(totals.promoted, totals.refused, totals.passed_on, totals.reset),
        *(totals.moved, totals.returned),
    )
    times = (
        *(totals.reloads_committed, totals.reloads_failed),
        *(totals.rollbacks_committed, totals.rollbacks_failed, totals.drains),
    )
    counted = [one.event in _EVENTS and is_count(one.count) for one in totals.hooks]
    if not all(counted) or len(counted) > len(_EVENTS):
        return None
    if not all(map(is_count, counters)) or not all(one.sound for one in times):
        return None
    if not (all(map(_sound, account.entries)) and all(one.sound for one in account.pauses)):
        return None
    entries = tuple(map(_closed, account.entries[-MOST:]))
    return replace(account, entries=entries, pauses=account.pauses[-MOST:])


def _sound(entry: LedgerEntry) -> bool:
    spans = len(entry.spans) <= MOST_SPANS
    spans &= len(entry.hooks_failed) <= MOST_HOOKS
    texts = (
        *(entry.id, entry.cause, entry.reason, entry.from_version, entry.to_version),
        *(*(span.phase for span in entry.spans), *entry.hooks_failed),
    )
    times = (entry.at, entry.seconds, *(span.seconds for span in entry.spans))
    short = all(len(text) <= LONGEST for text in texts)
    numbers = (
        *(entry.predecessor or 0, entry.successor, entry.forced, entry.number),
        *(entry.moved, entry.returned),
    )
    good = all(map(is_time, times)) and all(map(is_count, numbers))
    return spans and short and good and entry.outcome in _OUTCOMES


def _closed(entry: LedgerEntry) -> LedgerEntry:
    pending = entry.outcome == Outcome.PENDING.value
    outcome = LOST if pending else entry.outcome
    return replace(entry, outcome=outcome, number=0, phase="", since=0.0)
