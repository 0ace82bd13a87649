"""Health checks: readiness, trial, watchdog. Each attempt runs in a process of its own;
never waits for one.
"""

__all__ = ("private_runs", "probe_commands", "readiness", "trial", "warm_up", "watchdog")
