"""Pauses by the operator: those who ask for them, and what is done while one lasts.

core/lifecycle/pause.py decides. See docs/pause.md.
"""

from __future__ import annotations

import contextlib
import time

from sockact.core.lifecycle import events
from sockact.core.lifecycle.model import Gate, State
from sockact.core.lifecycle.pause import obstacle
from sockact.core.matching import Kind
from sockact.supervisor.control.interface import LONGEST_PAUSE, NOT_PAUSED, PAUSE_FAILED, STOPPING
from sockact.supervisor.control.varlink import Refused, invalid_parameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.json_data import Json
    from sockact.core.lifecycle.model import Pause
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.service.lifecycle import Lifecycle

    # (answer, why it failed or "")
    Done = Callable[[Json, str], None]

_LOOK_EVERY = 1.0
"""Seconds between two looks for processes that accept again during a pause."""


class Pauses:
    """The callers who wait for a pause, or for its end, and the watch while it lasts."""

    def __init__(
        self, lifecycle: Lifecycle, loop: Loop, gates: Gates, listeners: list[Listener]
    ) -> None:
        self._lifecycle = lifecycle
        self._loop = loop
        self._gates = gates
        self._datagrams = any(x.address.kind is Kind.DATAGRAM for x in listeners)
        self._pausing: list[Done] = []
        self._resuming: list[Done] = []
        self._timer: Timer | None = None

    def pause(self, seconds: float, done: Done) -> Callable[[], None]:
        """Pause the service for so long at most; call `done` when nobody accepts connections any
        more. Return what to call if the caller leaves. Raises Refused.
        """
        if not 0 < seconds <= LONGEST_PAUSE:
            raise invalid_parameter("max")
        if self._lifecycle.is_stopping():
            raise Refused(STOPPING, {})
        if reason := obstacle(self._lifecycle.service):
            raise Refused(PAUSE_FAILED, {"reason": reason})
        leave = _wait(self._pausing, done)
        self._lifecycle.handle(events.Pause(seconds))
        return leave

    def resume(self, done: Done) -> Callable[[], None]:
        """End the pause; `done` is called when connections are accepted again. Raises Refused."""
        if not self._lifecycle.service.is_paused:
            raise Refused(NOT_PAUSED, {})
        leave = _wait(self._resuming, done)
        self._lifecycle.handle(events.Resume())
        return leave

    def look(self) -> None:
        """Answer the callers whose time has come: the service has changed."""
        service = self._lifecycle.service
        pause = service.pause
        if pause is not None and service.is_paused:
            if pause.complete:
                _answer(self._pausing, self._facts(pause))
            if self._timer is None:
                self._timer = self._loop.at(time.monotonic() + _LOOK_EVERY, self._keep_closed)
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if pause is not None:
            _answer(self._pausing, {}, pause.reason)
        moving = (Gate.CLOSING, Gate.OPENING)
        if not any(g.gate in moving for g in service.only(State.RUNNING)):
            _answer(self._resuming, {})

    def _facts(self, pause: Pause) -> Json:
        return {
            "seconds_left": max(0.0, pause.until - time.monotonic()),
            "datagrams": self._datagrams,
        }

    def _keep_closed(self) -> None:
        self._timer = self._loop.at(time.monotonic() + _LOOK_EVERY, self._keep_closed)
        for g in self._lifecycle.service.only(State.RUNNING):
            if g.gate is Gate.CLOSED:
                with contextlib.suppress(OSError):  # Until the next look.
                    self._gates.keep_closed(g.number)


def status(pause: Pause | None) -> Json | None:
    """Return the PauseState of docs/control.md: the present one, or the last one."""
    if pause is None:
        return None
    now = time.monotonic()
    ended = pause.ended
    return {
        "active": ended is None,
        "complete": pause.complete,
        "seconds_left": max(0.0, pause.until - now) if ended is None else None,
        "duration_seconds": (now if ended is None else ended) - pause.since,
        "ended_usec": None if ended is None else round((time.time() - (now - ended)) * 1_000_000),
        "reason": pause.reason,
    }


def _wait(waiting: list[Done], done: Done) -> Callable[[], None]:
    waiting.append(done)

    def leave() -> None:
        waiting[:] = [one for one in waiting if one is not done]

    return leave


def _answer(waiting: list[Done], facts: Json, reason: str = "") -> None:
    for done in tuple(waiting):
        waiting.remove(done)
        done(facts, reason)
