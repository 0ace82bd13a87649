"""The name of websockets.py to programs that were started under an earlier version."""

from __future__ import annotations

from .websockets import inodes

__all__ = ("inodes",)
