"""Which generation gets new clients, by the state of the service.

Where lanes exist, this is what opens and closes gates: the kernel is told to steer new clients to
the lane of one generation.
"""

from __future__ import annotations

from sockact.core.lifecycle.model import Gate, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sockact.core.lifecycle.model import Generation, Service


def target(service: Service) -> int | None:
    """The number of that generation; None: nobody serves, so clients wait where they are."""
    running = service.only(State.RUNNING)
    if service.canary is not None and service.predecessor is not None:
        return service.predecessor.number
    found = (
        _last(g for g in running if g.gate is Gate.OPENING)
        or _last(g for g in running if g.trial_until is None and g.warm_until is None)
        or _last(running)
        # Its predecessor is paused, or has crashed.
        or service.pending
    )
    return found.number if found else None


def shares(service: Service) -> tuple[tuple[int, int], ...]:
    """The generations that get a share of the new clients instead, in thousandths."""
    if service.canary is None or service.handover is None or service.predecessor is None:
        return ()
    return ((service.handover.successor, service.canary.progress.share),)


def share_of(service: Service, number: int) -> int | None:
    """The share of a canary; None for another generation."""
    return dict(shares(service)).get(number)


def _last(found: Iterable[Generation]) -> Generation | None:
    return max(found, key=lambda g: g.number, default=None)
