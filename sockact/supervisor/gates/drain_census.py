"""Counting the connections of a draining generation: seldom all of them, also when that fails for
a while.

A full look gives the connections that need the generation. From then on one of them is the
witness: the kernel tells when it is closed, and a timer when it may have become quiet. Only when no
witness is left there is another full look.
"""

from __future__ import annotations

import time
from functools import partial

from sockact.core.connections import PATIENCE, UNANNOUNCED, look_again_in
from sockact.core.lifecycle.events import Census
from sockact.core.matching import Kind
from sockact.core.record import dataclass, field, replace
from sockact.handover import census
from sockact.handover.gate import at_rest
from sockact.kernel.sockets.sock_diag import UnixSocket
from sockact.kernel.sockets.tcp_destroy import Destroyed
from sockact.supervisor.base.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.lifecycle.model import Policy
    from sockact.handover.census import Witness
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.processes.processes import Processes

_LONGEST_PAUSE = 10.0
_REST_AGAIN = 0.01
_TRIES = 32
"""So many witnesses are asked one by one; after that a full look is cheaper."""


@dataclass
class _Drain:
    """What is known of one draining generation."""

    began: float
    """When its gate had closed, or could not be."""
    closed: bool = False
    holders: dict[int, list[int]] | None = None
    """As the last full look found them."""
    rested: set[int] = field(default_factory=set)
    """Those that were seen at rest since then."""
    witnesses: list[Witness] = field(default_factory=list)
    """The last one is the witness, the others may replace it."""
    ear: tuple[int, Destroyed] | None = None
    """Hears the end of sockets of one address family."""
    full_look_at: float = 0.0
    """No full look before."""
    pause: float = 0.0
    """After a failure: until the next attempt."""


class DrainCensus:
    """Counts for all generations of one service.

    `tell` takes each count, `is_closed` tells whether a generation's gate is; `say` is told once
    for each time of failure.
    """

    def __init__(
        self,
        loop: Loop,
        processes: Processes,
        gates: Gates,
        listeners: list[Listener],
        policy: Policy,
        is_closed: Callable[[int], bool],
        tell: Callable[[Census], None],
        say: Callable[[int, str], None],
    ) -> None:
        self._loop = loop
        self._processes = processes
        self._gates = gates
        self._listeners = listeners
        self._policy = policy
        self._is_closed = is_closed
        self._tell = tell
        self._say = say
        self._drains: dict[int, _Drain] = {}
        self.full_looks = 0
        """How many there were, over all drains."""

    def take_census(self, number: int) -> None:
        """Count the connections of this generation now."""
        self._tell(self.count(number, self._is_closed(number)))

    def active(self, number: int) -> int | None:
        """How many connections it has that need it; None where the kernel does not tell."""
        try:
            found = census.count({number: self._processes.of(number)}, self._listeners)
        except OSError:
            return None
        return found[number].busy + found[number].fresh if found else None

    def count(self, number: int, closed: bool) -> Census:
        """The counts; when there are none, a busy generation that is to be counted again later.

        `closed` tells whether its gate is; the first count comes when that is decided.
        """
        drain = self._drains.setdefault(number, _Drain(time.monotonic()))
        if closed and not drain.closed:
            drain.closed, drain.began = True, time.monotonic()
        try:
            found = self._count(number, drain)
        except OSError as error:
            return self._failed(number, drain, error)
        drain.pause = 0.0
        if found.busy or found.fresh:
            return found
        if drain.closed and self._gates.reopened(number, drain.holders or {}):
            # It was closed again just now.
            drain.began = time.monotonic()
            drain.rested.clear()
            return replace(found, fresh=1, settled=False)
        return found

    def forget(self, number: int) -> None:
        """It does not drain any more."""
        drain = self._drains.pop(number, None)
        if drain is not None:
            self._stop_hearing(drain)

    def _count(self, number: int, drain: _Drain) -> Census:
        # Before anything is looked at: what is accepted later was in nobody's hands now.
        resting = self._rests(number, drain)
        if (found := self._testimony(number, drain)) is not None:
            return found
        now = time.monotonic()
        if drain.holders is not None and not resting and self._patient(drain):
            return _busy(number, _REST_AGAIN)
        if now < drain.full_look_at:
            return _busy(number, drain.full_look_at - now)
        return self._full_look(number, drain, resting)

    def _patient(self, drain: _Drain) -> bool:
        return drain.closed and time.monotonic() - drain.began < PATIENCE

    def _rests(self, number: int, drain: _Drain) -> bool:
        """Was each process that holds a listener seen at rest, since the gate closed?"""
        if drain.holders is None or not drain.closed:
            return False
        loops = self._gates.loops(number)
        for pid in drain.holders.keys() - drain.rested:
            if at_rest(pid, loops.get(pid, set())):
                drain.rested.add(pid)
        return drain.holders.keys() <= drain.rested

    def _testimony(self, number: int, drain: _Drain) -> Census | None:
        """Is there still one that needs the generation?"""
        for _ in range(min(_TRIES, len(drain.witnesses))):
            witness = drain.witnesses[-1]
            heard = self._hear(number, drain, witness)
            now = witness.look()
            if now is not None:
                drain.witnesses[-1] = now
                elapsed = time.monotonic() - drain.began
                return _busy(number, look_again_in(now.quiet_in, elapsed) if heard else UNANNOUNCED)
            drain.witnesses.pop()
        return None

    def _full_look(self, number: int, drain: _Drain, resting: bool) -> Census:
        self.full_looks += 1
        before = time.process_time()
        found = census.look(self._processes.of(number), self._listeners)
        cost = time.process_time() - before
        drain.full_look_at = time.monotonic() + cost / self._policy.census_share
        known = drain.holders or {}
        drain.holders, drain.witnesses = found.holders, found.witnesses
        if found.witnesses:
            return self._testimony(number, drain) or _busy(number, UNANNOUNCED)
        self._stop_hearing(drain)
        # Nothing tells of a datagram that is being answered: time has to.
        streams = any(listener.address.kind is Kind.STREAM for listener in self._listeners)
        settled = streams and resting and found.holders.keys() <= known.keys()
        # Never so soon that it could not be a full look again: that would count as busy.
        patient = not resting and self._patient(drain)
        pause = _REST_AGAIN if patient else self._policy.census_interval
        pause = max(pause, drain.full_look_at - time.monotonic())
        return Census(number, 0, 0, found.counts.quiet, look_in=pause, settled=settled)

    def _hear(self, number: int, drain: _Drain, witness: Witness) -> bool:
        """Wait for its end; False when nothing announces that."""
        if isinstance(witness.connection, UnixSocket):
            return False
        if drain.ear and drain.ear[0] != witness.family:
            self._stop_hearing(drain)
        try:
            if drain.ear is None:
                drain.ear = witness.family, self._begin_to_hear(number, witness.family)
            drain.ear[1].wait_for(witness.connection.identity)
        except OSError:
            return False
        return True

    def _begin_to_hear(self, number: int, family: int) -> Destroyed:
        ear = Destroyed(family)
        try:
            self._loop.watch(ear.fileno(), READ, partial(self._heard, number))
        except OSError:
            ear.close()
            raise
        return ear

    def _heard(self, number: int, _mask: int) -> None:
        drain = self._drains[number]
        if drain.ear:
            drain.ear[1].clear()
        self.take_census(number)

    def _stop_hearing(self, drain: _Drain) -> None:
        if drain.ear:
            self._loop.unwatch(drain.ear[1].fileno())
            drain.ear[1].close()
            drain.ear = None

    def _failed(self, number: int, drain: _Drain, error: OSError) -> Census:
        if not drain.pause:
            self._say(number, f"connections cannot be counted now ({error}); trying again")
        drain.pause = min(2 * (drain.pause or self._policy.census_interval), _LONGEST_PAUSE)
        return _busy(number, drain.pause)


def _busy(number: int, look_in: float) -> Census:
    """At least one needs the generation, or may do."""
    return Census(number, busy=1, fresh=0, quiet=0, look_in=look_in)
