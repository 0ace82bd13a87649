"""Lanes in tests: gates without any, and what the journal says of those that nobody has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from sockact.core.lifecycle.model import Policy, Service
from sockact.handover.lanes import Lanes
from sockact.supervisor.gates.admission_gates import AdmissionGates
from sockact.supervisor.gates.lane_gates import LaneGates
from sockact.supervisor.gates.lending import Lending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop

_TOLD = re.compile(r"(\d+) connections? that .* (?:was|were) (reset|passed on)")


def shared(listeners: Sequence[Listener]) -> LaneGates:
    """All generations share these listeners."""
    return LaneGates(_lending(listeners), lambda *_moved: None)


def admission(listeners: Sequence[Listener]) -> AdmissionGates:
    """Closes no gate in these tests."""
    return AdmissionGates(cast("Loop", None), _lending(listeners), lambda *_moved: None)


def _lending(listeners: Sequence[Listener]) -> Lending:
    loop, lanes = cast("Loop", None), Lanes([listeners])
    return Lending(loop, lanes, lambda: Service(Policy()), lambda *_said: None, lambda _: None)


def told(text: str) -> dict[str, int]:
    """How many connections that nobody had accepted were passed on, and how many reset."""
    found = {"passed on": 0, "reset": 0}
    for count, what in _TOLD.findall(text):
        found[what] += int(count)
    return found
