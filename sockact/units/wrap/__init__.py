"""Putting an existing service under sockact, and taking it out again. Never leaves a step half
done.
"""

__all__ = (
    "differences",
    "drop_in",
    "marked_files",
    "outage",
    "refusals",
    "service",
    "service_files",
    "socket_unit",
    "transaction",
    "unwrapping",
    "wrapping",
)
