"""The logs of a service: pipes, the process that writes them, rotation. Never blocks the program
or the supervisor.
"""

__all__ = ("logs", "pipes", "program_logs", "pump", "rotation", "targets")
