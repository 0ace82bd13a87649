"""The life of a service as one pure function: step(state, event, now) → (state, actions).

Decides what happens next, and never performs it.
"""

__all__ = ("actions", "events", "hooks", "machine", "model", "pause", "stop", "trial")
