"""Lanes: which generation gets which, and which of them gets new clients. Never touches sockets."""

__all__ = ("lending", "missing", "target", "unaccepted")
