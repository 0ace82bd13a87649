"""Moves open connections from generations that drain to the one that serves: docs/delivery.md.
Never decides whether a generation drains, or when it ends.
"""

__all__ = ("moving", "requirements")
