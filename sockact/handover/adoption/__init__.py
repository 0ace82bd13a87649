"""Adopting: the binds of one generation, and the listeners that it gets for them.

Never decides which address belongs to which listener; core/matching.py does.
"""

__all__ = ("adopt", "availability", "callers", "lock_files")
