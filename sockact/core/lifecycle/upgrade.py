"""May the supervisor be replaced by another version of itself now?

What the next version gets is the state as it is written here. So nothing may be under way of which
only the running code knows: a launch, a probe, a move of a gate. A drain may: all that is to be
known of it is in the state, and in the kernel.
"""

from __future__ import annotations

from sockact.core.lifecycle.model import Gate, Phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Service


def under_way(service: Service) -> str:
    """What has to end first, in words; "" when nothing has."""
    if service.phase is Phase.STARTING:
        return "the service starts"
    if service.phase in (Phase.STOPPING, Phase.STOPPED):
        return "the service stops"
    if service.handover is not None and service.in_handover:
        return f"a {'rollback' if service.handover.rollback else 'reload'} is under way"
    if service.pending is not None:
        return f"generation {service.pending.number} starts"
    for g in service.generations:
        if g.gate in (Gate.CLOSING, Gate.OPENING):
            return f"the gate of generation {g.number} moves"
    return ""
