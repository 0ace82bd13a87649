"""History: what is remembered of launches and handovers, and counted.

Never reads or writes a file.
"""

__all__ = ("cause", "failures", "ledger", "pauses", "recovery", "snapshots")
