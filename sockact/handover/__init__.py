"""The mechanisms of a handover, on top of kernel/: adopt, interest, gate, census.

Never decides when to use one.
"""

__all__ = ("accept_queues", "adopt", "callers", "census", "gate", "interest", "listener_repair")
