"""One service: its state, the actions that are performed for it, and the requests to it. Never
blocks.
"""

__all__ = (
    "announcer",
    "carryover",
    "endings",
    "guard",
    "handovers",
    "lifecycle",
    "outcomes",
    "performer",
    "reaper",
    "reports",
    "requests",
    "shutdown",
    "status",
)
