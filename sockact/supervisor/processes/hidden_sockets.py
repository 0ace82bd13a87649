"""Sockets that the program's processes can reach, and that other users cannot find: unix(7).

A program may change its user, so the mode of a socket file cannot tell its processes from others'.
Instead, the files have random names, which only the program's environment tells, in a directory
that others may enter but not list. /proc/net/unix shows the name that a socket was bound to, so it
is bound to another name first, which nobody else may connect to, and renamed.

Where this is impossible (a path that is too long, or that other users cannot enter), the socket
gets an abstract name, which everybody can find and connect to.
"""

from __future__ import annotations

import contextlib
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

_DIRECTORY = "sockets"
_FIRST_NAME = "new"
_LONGEST = 107
_RANDOM = 12


class HiddenSockets:
    """The directory of the socket files of one supervisor. Its owner holds the service's lock."""

    def __init__(self, runtime: str, *, made: bool, resumed: bool = False) -> None:
        """`made`: sockact has made the runtime directory. `resumed`: keep the files of the version
        that hands over.
        """
        self._directory = ""
        path = os.path.join(runtime, _DIRECTORY)
        if len(os.fsencode(path)) + 1 + 2 * _RANDOM > _LONGEST:
            return
        try:
            _prepare(runtime, path, made, resumed)
        except OSError:
            return
        if _is_open_to_others(path):
            self._directory = path
        else:
            with contextlib.suppress(OSError):
                os.rmdir(path)

    def bind(self, sock: socket.socket) -> str:
        """Bind the socket, and return its path; "" if that is impossible: use a new socket then."""
        if not self._directory:
            return ""
        path = os.path.join(self._directory, os.urandom(_RANDOM).hex())
        first = os.path.join(self._directory, _FIRST_NAME)
        try:
            os.fchmod(sock.fileno(), 0o600)
            sock.bind(first)
            os.rename(first, path)
            os.chmod(path, 0o666)
        except OSError:
            remove(first)
            remove(path)
            return ""
        return path

    def close(self) -> None:
        """Remove the directory, if it is empty."""
        if self._directory:
            with contextlib.suppress(OSError):
                os.rmdir(self._directory)


def remove(path: str) -> None:
    """Remove a socket file that `bind` has made."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def _prepare(runtime: str, path: str, made: bool, resumed: bool) -> None:
    """Make the directory, or empty it: an earlier supervisor was killed. Raises OSError."""
    if made and os.geteuid() == 0:
        # A program that root starts may have become another user. The control socket and the lock
        # are for this user only.
        os.chmod(runtime, 0o711)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise NotADirectoryError(path)
    os.chmod(path, 0o711)
    if not resumed:
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))


def _is_open_to_others(path: str) -> bool:
    """Whether every process of the program can enter the directory, also after a change of user.
    Only root's can change theirs.
    """
    if os.geteuid() != 0:
        return True
    while path not in ("", "/"):
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
        path = os.path.dirname(path)
    return True
