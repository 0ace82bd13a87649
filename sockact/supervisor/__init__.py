"""The `sockact run` process: its start, its upgrade, and the one place that puts its parts
together.
"""

__all__ = ("main", "resume")
