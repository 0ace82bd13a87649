"""Calls to supervisors, and their answers in words. Never loads click: commands that must answer
at once make their calls without it.
"""

__all__ = (
    "canary",
    "list",
    "reload",
    "rollback",
    "rotate",
    "service",
    "status",
    "stop",
    "watch",
)
