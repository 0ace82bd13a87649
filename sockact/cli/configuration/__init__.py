"""The configuration file: its syntax, its keys, its kept versions; changes no service."""

__all__ = ("document", "keys", "loader", "versions")
