"""The mechanisms of a handover, on top of kernel/: adopt, interest, gate, census.

Never decides when to use one.
"""

__all__ = (
    "accept_queues",
    "adopt",
    "availability",
    "callers",
    "census",
    "gate",
    "interest",
    "listener_changes",
    "lock_files",
)
