"""Counts the requests of generations while a canary is under way. Never trusts what a program
counts.
"""

__all__ = ("request_counts",)
