"""Ends generations: drains and stop signals. Decides nothing; core/lifecycle/ does."""

from __future__ import annotations

import time
from functools import partial

from sockact.core.lifecycle import actions
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Service
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.base.retry import Retry
    from sockact.supervisor.gates.closings import Closings
    from sockact.supervisor.gates.decoys import Decoys
    from sockact.supervisor.gates.drain_census import DrainCensus
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.moving.moving import Moving
    from sockact.supervisor.processes.termination import Termination
    from sockact.supervisor.records.ledger import Ledger
    from sockact.supervisor.service.lifecycle import Lifecycle

_OTHERS_FIRST = 0.005


@dataclass
class Endings:
    """Ends the generations of one service, step by step. May raise procfs.Unavailable."""

    _lifecycle: Lifecycle
    _loop: Loop
    _retry: Retry
    _gates: Gates
    _closings: Closings
    _drains: DrainCensus
    _decoys: Decoys
    _termination: Termination
    _ledger: Ledger
    _moving: Moving | None
    """None: no connection moves."""

    def follow(self, service: Service) -> None:
        """Move and close connections as this state of the service asks for."""
        self._closings.follow(service)
        if self._moving:
            self._moving.follow(service)

    def take_back(self, number: int) -> None:
        """Make the generation accept connections again; it may have been draining."""
        self._drains.forget(number)
        self._gates.open(number)

    def end_connections_soon(self, number: int) -> None:
        """`end_connections` in a moment: another generation may have to open its gate first,
        because clients are waiting.
        """
        self._loop.at(time.monotonic() + _OTHERS_FIRST, partial(self.end_connections, number))

    def end_connections(self, number: int) -> None:
        """Make a draining generation end its connections, each with a response."""
        g = self._lifecycle.service.get(number)
        if g is None or not g.last_responses:
            return
        if self._moving:
            # Those that cannot move end later.
            self._gates.orders.spare_listeners(number)
        else:
            self._closings.end_connections(number)

    def keep_connections(self, number: int) -> None:
        """Undo `end_connections`."""
        self._closings.keep_connections(number)

    def take_census(self, number: int) -> None:
        """Count the connections of the generation now."""
        self._drains.take_census(number)

    def terminate(self, number: int, reason: str) -> None:
        """Send the stop signal. With a `reason`, record how many connections that cuts off."""
        self._drains.stopped(number)
        if reason and reason != actions.IDLE:
            # It does not end by itself.
            cut_off = self._drains.active(number)
            if cut_off is not None:
                self._ledger.forced(number, cut_off)
                if cut_off:
                    plural = "" if cut_off == 1 else "s"
                    reason += f" ({cut_off} connection{plural} in use)"
        if self._lifecycle.is_stopping():
            self._termination.terminate(number, reason)
            return
        # In a moment: other generations serve, and this one may shut their listeners down.
        key = actions.Terminate, number
        send = partial(self._termination.terminate, number, reason, at_once=False)
        lay = partial(self._decoys.lay, number, partial(self._retry.attempt, key, send))
        if self._moving:
            self._moving.end(number, lay)
        else:
            lay()

    def kill(self, number: int, reason: str, *, cuts_off: bool) -> None:
        """Send SIGKILL. `cuts_off`: record how many connections that cuts off."""
        if cuts_off and (remaining := self._drains.open(number)):
            self._ledger.forced(number, remaining)
        self._termination.kill(number, reason)

    def forget(self, number: int) -> None:
        """Forget a generation that is gone."""
        parts = (self._gates, self._closings, self._drains, self._termination, self._moving)
        for part in parts:
            if part is not None:
                self._loop.guard(part.forget, number)
