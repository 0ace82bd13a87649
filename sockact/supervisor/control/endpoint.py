"""The socket RUNTIME/control, and who may use it: unix(7), SO_PEERCRED."""

from __future__ import annotations

import contextlib
import os
import resource
import socket

from sockact.supervisor.control import claim, paths, varlink
from sockact.trust import peer

CONNECTIONS_LIMIT = 128
_FEWEST = 4
_OTHER_FILES = 56
"""Descriptors that everything else needs, reloads above all."""


def connections_limit() -> int:
    """Return how many clients there may be (RLIMIT_NOFILE of getrlimit(2))."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_LIMIT
    return max(_FEWEST, min(CONNECTIONS_LIMIT, soft - _OTHER_FILES))


def listen(path: str) -> socket.socket:
    """Listen on `path`, non-blocking, for this user only. Raises paths.RuntimeDirError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        sock.setblocking(False)
        # The file gets its mode from the socket, so that others can never connect.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(path)
        sock.listen(CONNECTIONS_LIMIT)
    except OSError as error:
        sock.close()
        raise paths.RuntimeDirError(
            f"cannot listen on {path}: {error.strerror}; "
            f"{claim.advice(error, os.path.dirname(path))}"
        ) from error
    return sock


def close(sock: socket.socket, path: str) -> None:
    """Close the socket that listens on `path`, and remove it."""
    sock.close()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def take_over(fd: int) -> socket.socket:
    """Return the socket that the previous version handed over, non-blocking."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def is_permitted(sock: socket.socket) -> bool:
    """Whether the peer is root or the user of this process."""
    return peer.credentials(sock)[1] in (0, os.geteuid())


def turn_away(sock: socket.socket, error: str) -> None:
    """Send this error, without waiting, and close."""
    with sock, contextlib.suppress(OSError):
        sock.send(varlink.encode_error(varlink.Refused(error)))
