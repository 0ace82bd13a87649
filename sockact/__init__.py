"""sockact: reload any server without losing a connection."""

__version__ = "0.1.0"
