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
    "lanes",
    "listener_changes",
)
