"""Option types, option groups and completions that commands share; never acts on them."""

__all__ = ("canaries", "checks", "complete", "hooks", "name", "probes", "values", "warm")
