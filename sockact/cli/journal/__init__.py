"""What a service has in the journal: which lines are its own, and how they are read and shown.

Only the command line reads. Nothing here writes into the journal, asks a supervisor or prints.
"""

__all__ = ("entry", "last_words", "matches", "reader", "selection", "service_units", "since")
