"""Commands that become a supervisor: they only read the command line into settings."""

__all__ = ("plain", "run")
