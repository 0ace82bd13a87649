"""Holds the state of one service, and changes it: core/lifecycle decides on a step for each event,
and the `Follower` performs its actions.

No exception leaves a step half done. The state after it is complete before any action is performed.
An action that raises is a bug, which is reported; the actions after it are performed all the same,
and `Follower.failed` answers the event that the machine expects of the failed one.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial

from sockact.core.lifecycle import events
from sockact.core.lifecycle.machine import next_deadline, step
from sockact.core.lifecycle.model import Gate, Phase, Service
from sockact.core.record import replace
from sockact.kernel.procfs import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from sockact.core.lifecycle.actions import Action
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Policy
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.base.retry import Retry

    class Follower(Protocol):
        """Performs the steps of a lifecycle."""

        def stepped(self, service: Service, actions: Sequence[Action], now: float) -> None:
            """Take note of a step, before its actions are performed."""

        def perform(self, action: Action) -> None:
            """Perform an action. May raise procfs.Unavailable: then it is retried later."""

        def failed(self, action: Action, reason: str) -> None:
            """Handle that an action raised another exception, which is a bug. If this raises, too,
            the action is retried later.
            """

        def followed(self, before: Service, service: Service, actions: Sequence[Action]) -> None:
            """Take note that all actions of a step were performed, or postponed."""

        def changed(self, service: Service) -> None:
            """Take note of the new state, when no more events are waiting."""


_AFTER_FAULT = 1.0
"""Seconds until the next deadline counts, after a step that raised an exception."""


class Lifecycle:
    """The state of one service, which only events change."""

    def __init__(
        self, policy: Policy, loop: Loop, retry: Retry, follower: Callable[[], Follower]
    ) -> None:
        """`follower` returns the Follower, which is made later because it needs this object."""
        self.service = Service(policy)
        self._loop = loop
        self._retry = retry
        self._follower = follower
        self._events: deque[Event] = deque()
        self._handling = False
        self._timer: Timer | None = None
        self._not_before = 0.0

    def handle(self, event: Event) -> None:
        """Take the step for an event. Events that its actions cause are handled after it."""
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                if not self._loop.guard(self._step, self._events.popleft()):
                    # A deadline that caused it is still in the state.
                    self._not_before = time.monotonic() + _AFTER_FAULT
        finally:
            self._handling = False
        self._arm()
        self._loop.guard(self._follower().changed, self.service)

    def _step(self, event: Event) -> None:
        now = time.monotonic()
        before = self.service
        self.service, actions = step(before, event, now)
        self._loop.guard(self._follower().stepped, self.service, actions, now)
        for action in actions:
            key = type(action), getattr(action, "number", None)
            self._retry.attempt(key, partial(self._perform, action))
        self._loop.guard(self._follower().followed, before, self.service, actions)

    def _perform(self, action: Action) -> None:
        try:
            self._follower().perform(action)
        except Unavailable:
            raise
        except Exception as error:
            self._loop.note(error)
            self._follower().failed(action, f"internal error ({type(error).__name__})")

    def use(self, policy: Policy) -> None:
        """Decide by this policy from now on."""
        self.service = replace(self.service, policy=policy)

    def resume(self, service: Service) -> None:
        """Continue from the state that the previous version of sockact handed over."""
        self.service = service
        self._arm()

    def is_stopping(self) -> bool:
        """Whether the service is stopping or has stopped, so that there are no more reloads."""
        return self.service.phase in (Phase.STOPPING, Phase.STOPPED)

    def is_idle(self) -> bool:
        """Whether no generation is starting or on trial, and the service is not paused."""
        service = self.service
        return not service.in_handover and service.pending is None and not service.is_paused

    def gate_is_closed(self, number: int) -> bool:
        """Whether a generation no longer accepts connections."""
        generation = self.service.get(number)
        return generation is not None and generation.gate is Gate.CLOSED

    def drain_deadline(self, number: int) -> float | None:
        """Return when the drain of a generation times out; None while it does not drain."""
        generation = self.service.get(number)
        return generation.drain_deadline if generation else None

    def _arm(self) -> None:
        when = next_deadline(self.service)
        if when is not None:
            when = max(when, self._not_before)
        if self._timer and self._timer.callback and self._timer.when == when:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.at(when, self._tick) if when is not None else None

    def _tick(self) -> None:
        self.handle(events.Tick())
