"""Hooks, the commands that users attach to handovers: their input, order and runs. Never delays a
handover longer than the policy allows.
"""

__all__ = ("dispatcher", "runner")
