"""Which lane a new generation is lent.

A lane is lent to one generation at a time, from its launch until its last process has ended: as
long as a process waits there, it would accept what is steered there for somebody else. Two
generations share a lane only where that is better than any other choice.
"""

from __future__ import annotations

from sockact.core.lifecycle.model import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockact.core.lifecycle.model import Service

MOST = 6
"""Lanes of an address: for the generation that serves, its successor, and four that drain."""


def choose(service: Service, lent: Mapping[int, int], steered: int, count: int) -> int:
    """The lane of the generation that is launched next, of `count`.

    `lent` has the lane of each generation that has a process, `steered` is where clients go now.
    """
    serves = service.only(State.RUNNING, State.PAUSED)
    if not serves:
        # After a crash, clients wait there. What is left of the old generation shares it.
        return steered
    free = next((lane for lane in range(count) if lane not in lent.values()), None)
    # Too many generations drain: share the listener, as without lanes.
    return steered if free is None else free


def is_alone(number: int, lent: Mapping[int, int]) -> bool:
    """Whether no other generation has the lane of this one."""
    lane = lent.get(number)
    return lane is not None and list(lent.values()).count(lane) == 1
