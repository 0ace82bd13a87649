"""What outlives a supervisor: the state carried over an upgrade, and the files in the state
directory. Never decides what follows from either.
"""

__all__ = ("carried_state", "history", "ledger", "snapshots", "state_dir")
