"""The generations as the supervisor holds them, each from its launch to the end of its last
process. Never decides what becomes of one.
"""

__all__ = ("accept_watch", "context", "generations", "live_generation")
