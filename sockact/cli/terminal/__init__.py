"""What a command prints, and how it fails in one line. Never decides what a command does."""

__all__ = ("failures", "live_line", "output")
