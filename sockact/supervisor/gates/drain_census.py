"""Counts the connections of draining generations, at little cost: docs/drain.md.

A full count finds the connections that still need the generation. After that, one of them is the
witness: the kernel reports when it is closed, and a timer when it may have become quiet. There is
another full count only when no witness is left.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial

from sockact.core.connections import PATIENCE, UNANNOUNCED, look_again_in
from sockact.core.lifecycle.events import Census
from sockact.core.matching import Kind
from sockact.core.record import dataclass, field, replace
from sockact.handover import census
from sockact.handover.gate import GateRefused, at_rest
from sockact.kernel.sockets.sock_diag import UnixSocket
from sockact.kernel.sockets.tcp_destroy import Destroyed
from sockact.supervisor.base.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sockact.core.connections import Rules
    from sockact.core.lifecycle.model import Policy
    from sockact.handover.census import Counts, Witness
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.gates.websockets import WebSockets
    from sockact.supervisor.processes.processes import Processes

_LONGEST_PAUSE = 10.0
_REST_AGAIN = 0.01
_ANSWER_WITHIN = 1.0
_NEVER = 1e9
_TRIES = 32
"""Number of witnesses to look at one by one; for more, a full count is cheaper."""


@dataclass
class _Drain:
    """One draining generation."""

    began: float
    """When its gate closed, or failed to."""
    closed: bool = False
    holders: dict[int, list[int]] | None = None
    """Processes that have a listener → their epoll instances, by the last full count."""
    rested: set[int] = field(default_factory=set)
    """The holders that were seen at rest since the gate closed."""
    witnesses: list[Witness] = field(default_factory=list)
    """The last one is the witness, the others are its replacements."""
    monitor: tuple[int, Destroyed] | None = None
    """An address family, and the kernel's reports of its closed sockets."""
    count_all_at: float = 0.0
    """Earliest time of the next full count."""
    pause: float = 0.0
    """Seconds from a failure to the next attempt; 0 after a success."""
    websockets: set[int] | None = None
    """Inodes of WebSockets, which hold the drain; None: the shims have not been asked."""
    asking: bool = False
    """The shims have not answered yet."""
    told_to_end: bool = False
    """The generation has got its stop signal; the shims are not asked any more."""


class DrainCensus:
    """Counts the connections of all draining generations of one service."""

    def __init__(
        self,
        loop: Loop,
        processes: Processes,
        gates: Gates,
        websockets: WebSockets,
        listeners: list[Listener],
        policy: Policy,
        rules: Callable[[int], Rules],
        is_spread: Callable[[int], bool],
        moved: Callable[[int], Collection[int]],
        is_closed: Callable[[int], bool],
        tell: Callable[[Census], None],
        say: Callable[[int, str], None],
    ) -> None:
        """`rules` returns the rules for the connections of a generation, `is_spread` whether they
        are still being closed one after the other, `moved` the inodes of those that are another
        generation's by now, `is_closed` whether its gate is closed. `tell` gets each count. `say`
        reports the first of several failures in a row.
        """
        self._loop = loop
        self._processes = processes
        self._gates = gates
        self._websockets = websockets
        self._listeners = listeners
        self._policy = policy
        self._rules = rules
        self._is_spread = is_spread
        self._moved = moved
        self._is_closed = is_closed
        self._tell = tell
        self._say = say
        self._drains: dict[int, _Drain] = {}
        self.full_counts = 0
        """Number of full counts so far."""

    def take_census(self, number: int) -> None:
        """Count the connections of this generation now, and tell the result."""
        self._tell(self.count(number, self._is_closed(number)))

    def active(self, number: int) -> int | None:
        """Return how many connections need the generation; None if that cannot be found out."""
        found = self._counts(number)
        return found.busy + found.fresh if found else None

    def open(self, number: int) -> int:
        """Return how many connections the generation has, as far as that can be found out."""
        found = self._counts(number)
        return found.total if found else 0

    def _counts(self, number: int) -> Counts | None:
        try:
            pids = self._processes.of(number)
            moved = self._moved(number)
            found = census.count({number: pids}, self._listeners, self._rules, moved)
        except OSError:
            return None
        return found[number] if found else None

    def count(self, number: int, closed: bool) -> Census:
        """Count the connections. A generation that cannot be counted now is reported as busy.

        `closed`: its gate is closed. Count for the first time when it has closed or failed to.
        """
        drain = self._drains.setdefault(number, _Drain(time.monotonic()))
        if closed and not drain.closed:
            drain.closed, drain.began = True, time.monotonic()
        what = "count connections"
        try:
            # Before the count: what is accepted meanwhile is counted.
            if closed and self._gates.has_waiting(number):
                return Census(number, 0, 1, 0, look_in=self._policy.census_interval)
            found = self._count(number, drain)
            if not (found.busy or found.fresh):
                what = "tell whether it accepts connections again"
                found = self._with_reopened(number, drain, found)
        except (GateRefused, OSError) as error:
            return self._failed(number, drain, f"cannot {what} ({error}); retrying")
        if not found.busy:
            # One that still waits for processes to rest does not show that the failure is over.
            drain.pause = 0.0
        return found

    def _with_reopened(self, number: int, drain: _Drain, found: Census) -> Census:
        """Close what accepts again, and return the count with it. Raises GateRefused, OSError."""
        before = time.process_time()
        try:
            reopened = drain.closed and self._gates.close_reopened(number, drain.holders or {})
        except (GateRefused, OSError):
            drain.rested.clear()  # Some may have been closed again.
            raise
        finally:
            rest = (time.process_time() - before) / self._policy.census_share
            drain.count_all_at = max(drain.count_all_at, time.monotonic() + rest)
        found = replace(found, look_in=max(found.look_in or 0.0, rest))
        if reopened:
            # It was accepting again, and has been closed again just now.
            drain.began = time.monotonic()
            drain.rested.clear()
            return replace(found, fresh=1, settled=False)
        return found

    def stopped(self, number: int) -> None:
        """Take note that the generation gets its stop signal."""
        self.forget(number)
        self._drains[number] = _Drain(time.monotonic(), told_to_end=True)

    def forget(self, number: int) -> None:
        """Stop counting the connections of this generation."""
        drain = self._drains.pop(number, None)
        if drain is not None:
            self._close_monitor(drain)

    def _count(self, number: int, drain: _Drain) -> Census:
        # Before the count: a process at rest has no connection that could be missed.
        resting = self._rests(number, drain)
        if (found := self._ask_witnesses(number, drain)) is not None:
            return found
        now = time.monotonic()
        if drain.holders is not None and not resting and self._is_patient(drain):
            return _busy(number, _REST_AGAIN)
        if now < drain.count_all_at:
            return _busy(number, drain.count_all_at - now)
        return self._count_all(number, drain, resting)

    def _is_patient(self, drain: _Drain) -> bool:
        return drain.closed and time.monotonic() - drain.began < PATIENCE

    def _rests(self, number: int, drain: _Drain) -> bool:
        """Whether each process that has a listener was seen at rest since the gate closed."""
        if drain.holders is None or not drain.closed:
            return False
        epolls = self._gates.edited_epolls(number)
        for pid in drain.holders.keys() - drain.rested:
            if at_rest(pid, epolls.get(pid, set())):
                drain.rested.add(pid)
        return drain.holders.keys() <= drain.rested

    def _ask_witnesses(self, number: int, drain: _Drain) -> Census | None:
        """Return a count if one of the witnesses still needs the generation."""
        for _ in range(min(_TRIES, len(drain.witnesses))):
            witness = drain.witnesses[-1]
            if witness.connection.inode in self._moved(number):
                drain.witnesses.pop()
                continue
            reported = self._watch(number, drain, witness)
            now = witness.look(self._rules_now(number))
            if now is not None:
                drain.witnesses[-1] = now
                elapsed = time.monotonic() - drain.began
                return _busy(
                    number, look_again_in(now.quiet_in, elapsed) if reported else UNANNOUNCED
                )
            drain.witnesses.pop()
        return None

    def _count_all(self, number: int, drain: _Drain, resting: bool) -> Census:
        self.full_counts += 1
        before = time.process_time()
        pids = self._processes.of(number)
        rules, websockets = self._rules_now(number), drain.websockets
        moved = self._moved(number)
        found = census.count_fully(pids, self._listeners, rules, websockets or (), moved)
        if found.witnesses and drain.closed:
            # With new connections all the time, there would be no end of the drain. What fails is
            # tried again before the end; some may have been closed again.
            reopened = True
            with contextlib.suppress(GateRefused, OSError):
                reopened = self._gates.close_reopened(number, found.holders)
            if reopened:
                drain.rested.clear()
        cost = time.process_time() - before
        drain.count_all_at = time.monotonic() + cost / self._policy.census_share
        known = drain.holders or {}
        drain.holders, drain.witnesses = found.holders, found.witnesses
        if found.witnesses:
            drain.websockets = None  # They are asked again when these are gone.
            return self._ask_witnesses(number, drain) or _busy(number, UNANNOUNCED)
        if found.counts.quiet and websockets is None and self._ask_shims(number, drain):
            return _busy(number, _ANSWER_WITHIN)
        self._close_monitor(drain)
        # Nothing shows that a datagram is being answered. Wait instead.
        streams = any(listener.address.kind is Kind.STREAM for listener in self._listeners)
        settled = streams and resting and found.holders.keys() <= known.keys()
        # Not before the next full count is allowed, or else that one would report busy.
        patient = not resting and self._is_patient(drain)
        pause = _REST_AGAIN if patient else self._policy.census_interval
        pause = max(pause, drain.count_all_at - time.monotonic())
        return Census(number, 0, 0, found.counts.quiet, look_in=pause, settled=settled)

    def _rules_now(self, number: int) -> Rules:
        """Return the rules by which its connections hold the drain: an idle one does, too, as long
        as it may still end with a response.
        """
        rules = self._rules(number)
        return replace(rules, quiet_after=_NEVER) if self._is_spread(number) else rules

    def _ask_shims(self, number: int, drain: _Drain) -> bool:
        """Ask which connections are WebSockets; return False if there is nobody to ask."""
        if drain.told_to_end:
            return False
        if not drain.asking:
            drain.asking = True
            if not self._websockets.ask(number, partial(self._told, number, drain)):
                drain.asking = False
                return False
        return True

    def _told(self, number: int, drain: _Drain, websockets: set[int]) -> None:
        drain.websockets, drain.asking = websockets, False
        if self._drains.get(number) is drain:
            self.take_census(number)

    def _watch(self, number: int, drain: _Drain, witness: Witness) -> bool:
        """Wait until the witness is closed. Return whether the kernel will report that."""
        if isinstance(witness.connection, UnixSocket):
            return False
        if drain.monitor and drain.monitor[0] != witness.family:
            self._close_monitor(drain)
        try:
            if drain.monitor is None:
                drain.monitor = witness.family, self._open_monitor(number, witness.family)
            drain.monitor[1].wait_for(witness.connection.identity)
        except OSError:
            return False
        return True

    def _open_monitor(self, number: int, family: int) -> Destroyed:
        monitor = Destroyed(family)
        try:
            self._loop.watch(monitor.fileno(), READ, partial(self._closed, number))
        except OSError:
            monitor.close()
            raise
        return monitor

    def _closed(self, number: int, _mask: int) -> None:
        drain = self._drains[number]
        if drain.monitor:
            drain.monitor[1].clear()
        self.take_census(number)

    def _close_monitor(self, drain: _Drain) -> None:
        if drain.monitor:
            self._loop.unwatch(drain.monitor[1].fileno())
            drain.monitor[1].close()
            drain.monitor = None

    def _failed(self, number: int, drain: _Drain, message: str) -> Census:
        if not drain.pause:
            self._say(number, message)
        drain.pause = min(2 * (drain.pause or self._policy.census_interval), _LONGEST_PAUSE)
        return _busy(number, drain.pause)


def _busy(number: int, look_in: float) -> Census:
    """Return a count that says: at least one connection needs the generation, or may need it."""
    return Census(number, busy=1, fresh=0, quiet=0, look_in=look_in)
