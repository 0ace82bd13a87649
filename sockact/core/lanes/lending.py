"""Which lane a new generation is lent.

A lane is lent to one generation at a time, from its launch until its last process has ended: as
long as a process waits there, it would accept what is steered there for somebody else. Two
generations share a lane only where that is better than any other choice.

What waits in a lane can be given to another generation only where the kernel moves connections
(docs/lanes.md). Elsewhere a successor shares the lane in which clients may have to wait for its
predecessor, or for it, and in vain.
"""

from __future__ import annotations

from sockact.core.lifecycle.model import Ready, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockact.core.lifecycle.model import Service

MOST = 6
"""Lanes of an address: for the generation that serves, its successor, and four that drain."""


def choose(
    service: Service,
    lent: Mapping[int, int],
    steered: int,
    count: int,
    *,
    moves: bool = True,
    strict: bool = False,
) -> int:
    """The lane of the generation that is launched next, of `count`.

    `lent` has the lane of each generation that has a process, `steered` is where clients go now.
    `moves`: the kernel can move connections that wait in a lane to another one. `strict`: a
    generation has a lane of its own even if it gets clients before it is proven.
    """
    serves = service.only(State.RUNNING, State.PAUSED)
    if not serves:
        # After a crash, clients wait there. What is left of the old generation shares it.
        return steered
    if not moves and (_is_given_up(service) or (_pauses(service) and not strict)):
        return steered
    free = next((lane for lane in range(count) if lane not in lent.values()), None)
    # Too many generations drain: share the listener, as without lanes.
    return steered if free is None else free


def _is_given_up(service: Service) -> bool:
    """Whether the clients of the one that should serve wait for its successor."""
    return service.handover is not None and service.handover.gives_up and service.in_handover


def _pauses(service: Service) -> bool:
    """Whether the successor gets all clients before it is proven, its predecessor paused."""
    policy = service.policy
    if service.plan is not None:
        return False  # A canary needs a lane of its own.
    tried = bool(policy.trial) or "running" in policy.hooks
    probed = policy.ready is Ready.PROBE and not policy.private_ready
    return probed or (tried and not policy.private_trial)


def is_alone(number: int, lent: Mapping[int, int]) -> bool:
    """Whether no other generation has the lane of this one."""
    lane = lent.get(number)
    return lane is not None and list(lent.values()).count(lane) == 1
