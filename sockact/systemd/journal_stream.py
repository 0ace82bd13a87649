"""A stream into the journal with its own identifier: sd_journal_stream_fd(3).

systemd connects the standard output of services in the same way: journald's socket, a header of
seven lines, then the lines of the program. journald knows the pid and the unit of each line from
the kernel.
"""

from __future__ import annotations

import os
import socket

from sockact.systemd.journal import is_journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SOCKET = "/run/systemd/journal/stdout"
# As systemd does, up to net.core.wmem_max: a burst of lines does not block the program.
_BUFFER = 8 * 1024 * 1024
_INFO = 6
_OUTPUTS = (1, 2)


def outputs(environ: Mapping[str, str]) -> tuple[int, ...]:
    """Which of the descriptors 1 and 2 are the stream that $JOURNAL_STREAM names."""
    return tuple(fd for fd in _OUTPUTS if is_journal(fd, environ))


def connect(identifier: str, path: str = _SOCKET) -> int:
    """A descriptor to write lines to. Never waits. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.setblocking(False)
        stream.connect(path)
        stream.shutdown(socket.SHUT_RD)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        # Identifier; unit (only root may set it); level; whether lines begin with levels
        # (sd-daemon(3)); whether to forward to syslog, to the kernel log, to the console.
        stream.sendall(f"{identifier}\n\n{_INFO}\n1\n0\n0\n0\n".encode())
        stream.setblocking(True)
        return stream.detach()


def stream_of(fd: int) -> str:
    """$JOURNAL_STREAM for a program that writes to the descriptor."""
    found = os.fstat(fd)
    return f"{found.st_dev}:{found.st_ino}"
