"""The `sockact` command: finds the subcommand and turns every failure into one line. Never
loaded by the supervisor.
"""

__all__ = ("main", "shortcut")
