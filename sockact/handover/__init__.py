"""The mechanisms of a handover, on top of kernel/: interest, gate, census; adopting is a room
of its own.

Never decides when to use one.
"""

__all__ = (
    "abandoned",
    "accept_queues",
    "census",
    "gate",
    "interest",
    "lane_opening",
    "lanes",
    "listener_changes",
    "movable",
    "queue_ages",
)
