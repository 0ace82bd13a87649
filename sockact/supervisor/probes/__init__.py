"""Health checks: readiness, trial, watchdog. Each attempt is a process of its own; the
supervisor never waits for one.
"""
