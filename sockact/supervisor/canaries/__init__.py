"""Canaries under way: both generations are counted and judges asked, about once a second. Decides
nothing: a verdict is an event.
"""

__all__ = ("canaries", "sources")
