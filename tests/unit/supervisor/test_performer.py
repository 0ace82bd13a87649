"""The order in which a step of the lifecycle is performed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sockact.core.lifecycle.model import Policy, Service
from sockact.kernel.procfs import Unavailable
from sockact.supervisor.service.performer import Performer


def performer(events: list[str], trouble: Exception | None = None) -> Performer:
    """A performer, of which only what comes first matters."""

    def follow() -> None:
        events.append("steered")
        if trouble:
            raise trouble

    lending = SimpleNamespace(follow=follow)
    ledger = SimpleNamespace(stepped=lambda *_step: events.append("recorded"))
    parts: dict[str, Any] = dict.fromkeys(Performer.__match_args__)
    parts["_context"] = SimpleNamespace(lending=lending)
    parts["_history"] = SimpleNamespace(ledger=ledger)
    return Performer(**parts)


def test_clients_are_steered_before_a_step_is_recorded_on_disk() -> None:
    events: list[str] = []
    performer(events).stepped(Service(Policy()), (), 0.0)
    assert events == ["steered", "recorded"]


def test_a_step_is_recorded_even_if_clients_cannot_be_steered_yet() -> None:
    events: list[str] = []
    performer(events, Unavailable("no memory")).stepped(Service(Policy()), (), 0.0)
    assert events == ["steered", "recorded"]


def test_a_step_is_recorded_even_if_steering_has_a_bug() -> None:
    events: list[str] = []
    with pytest.raises(ValueError, match="bug"):
        performer(events, ValueError("bug")).stepped(Service(Policy()), (), 0.0)
    assert events == ["steered", "recorded"]
