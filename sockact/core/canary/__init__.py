"""Canaries: the steps of one, whether its release is worse than the previous one, what follows.

Never counts a request or steers a client itself.
"""

__all__ = ("evidence", "judges", "progress", "sample", "schedule", "verdict")
