"""Events of a service's life at given times, and the actions that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.machine import step
from sockact.core.lifecycle.model import (
    Policy,
    Service,
    State,
)

if TYPE_CHECKING:
    from sockact.core.lifecycle.actions import Action
    from sockact.core.lifecycle.events import Event

POLICY = Policy(start_timeout=10.0, drain_timeout=20.0, kill_timeout=5.0)


class Story:
    """Feeds events at given times and keeps the actions of the last one."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.state = Service(policy)
        self.now = 100.0
        self.asked: tuple[Action, ...] = ()

    def hear(self, event: Event, after: float = 0.0) -> tuple[Action, ...]:
        self.now += after
        self.state, self.asked = step(self.state, event, self.now)
        return self.asked

    def serving(self) -> Story:
        """Bring the first generation up."""
        self.hear(on.Start())
        self.launch(1)
        return self

    def serving_proven(self) -> Story:
        """The same, where readiness has to be proven."""
        self.serving()
        self.hear(on.Proven(1))
        return self

    def launch(self, number: int) -> None:
        """Interest, and the settle time after it."""
        self.hear(on.Interest(number))
        self.hear(on.Tick(), self.state.policy.settle)

    def generation(self, number: int) -> State | None:
        found = self.state.get(number)
        return found.state if found else None


def kinds(asked: tuple[Action, ...]) -> list[type]:
    return [type(action) for action in asked]
