"""A stream into the journal under an identifier of our own: sd_journal_stream_fd(3).

It is what systemd connects to a service's standard output: journald's socket, a head of seven
lines, and then lines of the program. journald takes the pid and the unit of each line from the
kernel.
"""

from __future__ import annotations

import os
import socket

from sockact.systemd.journal import is_journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SOCKET = "/run/systemd/journal/stdout"
# As large as the kernel gives it, like systemd's own: a burst of lines does not stop the program.
_BUFFER = 8 * 1024 * 1024
_INFO = 6
_OUTPUTS = (1, 2)


def outputs(environ: Mapping[str, str]) -> tuple[int, ...]:
    """Which of standard output and standard error are the stream of $JOURNAL_STREAM."""
    return tuple(fd for fd in _OUTPUTS if is_journal(fd, environ))


def connect(identifier: str, path: str = _SOCKET) -> int:
    """A descriptor to write lines to. Raises OSError; never waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.setblocking(False)
        stream.connect(path)
        stream.shutdown(socket.SHUT_RD)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        # Identifier; unit, which is root's to say; level; are levels in front of lines known
        # (sd-daemon(3)); is it to be passed on to syslog, to the kernel's log, to the console.
        stream.sendall(f"{identifier}\n\n{_INFO}\n1\n0\n0\n0\n".encode())
        stream.setblocking(True)
        return stream.detach()


def stream_of(fd: int) -> str:
    """$JOURNAL_STREAM for a program that writes to it."""
    found = os.fstat(fd)
    return f"{found.st_dev}:{found.st_ino}"
