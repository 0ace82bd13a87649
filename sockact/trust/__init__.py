"""Files and sockets at places that other users can write: opened without being led astray.

Everything that acts with more rights than who could have put a file there opens it here. Never
decides what a file means.
"""

__all__ = ("files", "peer", "walk")
