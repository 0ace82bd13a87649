"""The foundation of the supervisor's other rooms: the loop, child commands, retries and messages to
the operator. Knows nothing of services.
"""

__all__ = ("commands", "faults", "loop", "output_relay", "policy", "report", "retry")
