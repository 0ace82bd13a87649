"""The ledger: a service's handovers, and counters. See docs/metrics.md.

An entry is one handover. It is open from the request until the last process of the predecessor (or,
if the handover failed, of the successor) has ended. At each moment it is in one phase (phases.py).

Times are CLOCK_MONOTONIC in seconds, except for `at`, which is CLOCK_REALTIME. Field names are
carried to other versions of sockact: they never change.
"""

from __future__ import annotations

from sockact.core.history.phases import phase_of
from sockact.core.lifecycle.model import Outcome
from sockact.core.lifecycle.stop import STOPPING
from sockact.core.lifecycle.trial import BY_HAND
from sockact.core.numbers import is_count, is_time
from sockact.core.record import dataclass, field, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.history.pauses import PauseEntry
    from sockact.core.lanes.unaccepted import Unaccepted
    from sockact.core.lifecycle.model import Handover, Service

MOST = 50
"""Number of handovers that are remembered."""
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the histograms' buckets, in seconds. Changing them resets all counters."""
LOST = "lost"
"""Outcome of a handover whose supervisor was killed before it ended."""

LONGEST = 400
MOST_SPANS = 16
MOST_HOOKS = 8


@dataclass(frozen=True)
class Span:
    """A phase that is over, and its duration."""

    phase: str
    seconds: float


@dataclass(frozen=True)
class LedgerEntry:
    """One handover. `predecessor` and `successor` are generation numbers."""

    id: str
    """A unique id: 128 bits in hexadecimal."""
    at: float
    cause: str
    """What asked for it."""
    rollback: bool
    predecessor: int | None
    successor: int
    outcome: str = Outcome.PENDING.value
    reason: str = ""
    seconds: float = 0.0
    """From the request to the outcome."""
    spans: tuple[Span, ...] = ()
    forced: int = 0
    """Number of connections that were cut off."""
    number: int = 0
    """`Handover.id` of the lifecycle while the entry is open, else 0."""
    phase: str = ""
    since: float = 0.0
    from_version: str = ""
    to_version: str = ""
    """Versions of the releases of the two generations, if known."""
    hooks_failed: tuple[str, ...] = ()
    """The hooks that have failed, and how."""
    moved: int = 0
    """Connections that were open, and that another generation got."""
    returned: int = 0
    """How often one was not accepted there in time."""


@dataclass(frozen=True)
class Failures:
    """Number of failed hooks for one event."""

    event: str
    count: int


@dataclass(frozen=True)
class Times:
    """A histogram of durations. The last bucket is for those beyond BOUNDS."""

    counts: tuple[int, ...] = field(default_factory=lambda: (0,) * (len(BOUNDS) + 1))
    sum: float = 0.0

    def plus(self, seconds: float) -> Times:
        """The histogram with one more duration."""
        place = sum(seconds > bound for bound in BOUNDS)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return Times(counts, self.sum + seconds)

    @property
    def sound(self) -> bool:
        """Whether the values can be those of a histogram."""
        fits = len(self.counts) == len(BOUNDS) + 1 and all(map(is_count, self.counts))
        return fits and is_time(self.sum)


@dataclass(frozen=True)
class Totals:
    """Counters, which only grow."""

    reloads_committed: Times = field(default_factory=Times)
    reloads_failed: Times = field(default_factory=Times)
    rollbacks_committed: Times = field(default_factory=Times)
    rollbacks_failed: Times = field(default_factory=Times)
    drains: Times = field(default_factory=Times)
    """From the commit, or the end of the time that the predecessor was kept, to its last process's
    end.
    """
    taken_back: int = 0
    """Reloads that failed after the successor had served on trial."""
    forced: int = 0
    failures: int = 0
    """Generations that failed."""
    restarts: int = 0
    """Launches after a crash."""
    starts: int = 0
    """Starts of the supervisor."""
    hooks: tuple[Failures, ...] = ()
    """Failed hooks, by event."""
    promoted: int = 0
    """Canaries that got all clients."""
    refused: int = 0
    """Canaries that failed, except for those that were rolled back by hand."""
    passed_on: int = 0
    """Connections that a generation had not accepted, and that another one got."""
    reset: int = 0
    """Connections that a generation had not accepted, and that nobody got."""
    moved: int = 0
    returned: int = 0
    """As those of the entries."""


@dataclass(frozen=True)
class Account:
    """The whole ledger; the oldest entry comes first."""

    entries: tuple[LedgerEntry, ...] = ()
    totals: Totals = field(default_factory=Totals)
    pauses: tuple[PauseEntry, ...] = ()

    def entry(self, number: int) -> LedgerEntry | None:
        """The open entry with this number."""
        return next((one for one in self.entries if number and one.number == number), None)


def begin(account: Account, entry: LedgerEntry) -> Account:
    """Add a handover."""
    return replace(account, entries=(*account.entries, entry)[-MOST:])


def finish(account: Account, handover: Handover) -> Account:
    """Record the outcome of a handover."""
    entry = account.entry(handover.id)
    if entry is None:
        return account
    seconds = max(0.0, (handover.finished or handover.requested) - handover.requested)
    done = replace(
        entry,
        outcome=handover.outcome.value,
        reason=handover.reason[:LONGEST],
        seconds=seconds,
        predecessor=handover.predecessor,
        successor=handover.successor,
    )
    kind = "rollbacks" if handover.rollback else "reloads"
    name = f"{kind}_{handover.outcome.value}"
    totals = account.totals
    totals = replace(totals, **{name: getattr(totals, name).plus(seconds)})
    if entry.phase == "canary":
        totals = _end_canary(totals, handover)
    elif handover.outcome is Outcome.FAILED and _served(entry):
        totals = replace(totals, taken_back=totals.taken_back + 1)
    return _put(replace(account, totals=totals), entry, done)


def _end_canary(totals: Totals, handover: Handover) -> Totals:
    if handover.outcome is Outcome.COMMITTED:
        return replace(totals, promoted=totals.promoted + 1)
    if handover.reason in (STOPPING, BY_HAND):
        return totals
    return replace(totals, refused=totals.refused + 1)


def explain(account: Account, handover: Handover) -> Account:
    """Record the reason of a failed handover, which has just finished, once more is known of it."""
    entry = next(
        (
            one
            for one in reversed(account.entries)
            if one.successor == handover.successor and one.outcome == Outcome.FAILED.value
        ),
        None,
    )
    if entry is None:
        return account
    return _put(account, entry, replace(entry, reason=handover.reason[:LONGEST]))


def follow(account: Account, service: Service, now: float) -> Account:
    """Record the phases that a change of the service has ended."""
    for entry in account.entries:
        if entry.number:
            account = _move(account, entry, service, now)
    return account


def force(account: Account, generation: int, connections: int) -> Account:
    """Record that connections of the generation are cut off."""
    totals = replace(account.totals, forced=account.totals.forced + connections)
    account = replace(account, totals=totals)
    entry = about(account.entries, generation)
    if entry is None:
        return account
    return _put(account, entry, replace(entry, forced=entry.forced + connections))


def leave(account: Account, found: Unaccepted) -> Account:
    """Count connections that their generation had not accepted."""
    totals = account.totals
    if found.moved:
        totals = replace(totals, passed_on=totals.passed_on + found.count)
    else:
        totals = replace(totals, reset=totals.reset + found.count)
    return replace(account, totals=totals)


def move(account: Account, generation: int, moved: int, returned: int) -> Account:
    """Count open connections of the generation that another one has, or has not, got."""
    totals = account.totals
    totals = replace(totals, moved=totals.moved + moved, returned=totals.returned + returned)
    account = replace(account, totals=totals)
    entry = about(account.entries, generation)
    if entry is None:
        return account
    now = replace(entry, moved=entry.moved + moved, returned=entry.returned + returned)
    return _put(account, entry, now)


def name(account: Account, version_of: Callable[[int], str]) -> Account:
    """Record the versions of the generations of open entries, as far as they are known."""
    for entry in account.entries:
        if entry.number:
            named = replace(
                entry,
                from_version=entry.from_version or version_of(entry.predecessor or 0),
                to_version=entry.to_version or version_of(entry.successor),
            )
            account = _put(account, entry, named) if named != entry else account
    return account


def fail_hook(account: Account, identity: str, event: str, text: str) -> Account:
    """Record that a hook has failed, in the entry with this id if there is one."""
    counts = {one.event: one.count for one in account.totals.hooks}
    counts[event] = counts.get(event, 0) + 1
    hooks = tuple(Failures(*one) for one in counts.items())
    account = replace(account, totals=replace(account.totals, hooks=hooks))
    entry = next((one for one in account.entries if identity and one.id == identity), None)
    if entry is None:
        return account
    failed = (*entry.hooks_failed, text[:LONGEST])[:MOST_HOOKS]
    return _put(account, entry, replace(entry, hooks_failed=failed))


def about(entries: tuple[LedgerEntry, ...], generation: int) -> LedgerEntry | None:
    """The newest open entry that the generation is part of."""
    return next(
        (
            one
            for one in reversed(entries)
            if one.number and generation in (one.predecessor, one.successor)
        ),
        None,
    )


def _served(entry: LedgerEntry) -> bool:
    return entry.phase == "trial" or any(span.phase == "trial" for span in entry.spans)


def _put(account: Account, old: LedgerEntry, new: LedgerEntry) -> Account:
    return replace(account, entries=tuple(new if one is old else one for one in account.entries))


def _move(account: Account, entry: LedgerEntry, service: Service, now: float) -> Account:
    phase = phase_of(service, entry.outcome, entry.predecessor, entry.successor)
    if phase == entry.phase and phase:
        return account
    spans = entry.spans
    if entry.phase:
        spans = (*spans, Span(entry.phase, max(0.0, now - entry.since)))[-MOST_SPANS:]
    moved = replace(entry, spans=spans, phase=phase, since=now if phase else 0.0)
    if phase:
        return _put(account, entry, moved)
    account = _put(account, entry, replace(moved, number=0))
    if entry.outcome == Outcome.COMMITTED.value and service.get(entry.predecessor or 0) is None:
        took = sum(span.seconds for span in spans if span.phase in ("drain", "stop"))
        if entry.predecessor is not None:
            totals = replace(account.totals, drains=account.totals.drains.plus(took))
            account = replace(account, totals=totals)
    return account
