"""A TCP socket that connects from a port of its own, more than once if need be.

bind(2) chooses a free port, but the kernel keeps only one that it was given when the socket is
disconnected: connect(2) to an address of the family AF_UNSPEC. So the port is chosen first.
"""

from __future__ import annotations

import socket

_TRIES = 8


def bound(source: str) -> socket.socket:
    """A socket at this IP address. Without SO_REUSEADDR, nobody else can use its port as long as it
    exists. Raises OSError.
    """
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    for _ in range(_TRIES - 1):
        try:
            return _try(family, source)
        except OSError:
            continue  # Somebody else was faster.
    return _try(family, source)


def _try(family: socket.AddressFamily, source: str) -> socket.socket:
    with socket.socket(family) as first:
        first.bind((source, 0))
        port = first.getsockname()[1]
    found = socket.socket(family)
    try:
        found.bind((source, port))
    except OSError:
        found.close()
        raise
    return found
