"""A small program on an inherited listener, to be inspected from outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

PREAMBLE = """
import os, select, socket, sys, threading
fd = int(sys.argv[1])
listener = socket.socket(fileno=fd)
"""


@contextlib.contextmanager
def child(code: str, listener: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """Run `code`, in which `listener` and its number `fd` are known; kill it at the end."""
    fd = listener.fileno()
    with subprocess.Popen(
        [sys.executable, "-I", "-c", PREAMBLE + code, str(fd)],
        pass_fds=[fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def inode(sock: socket.socket) -> int:
    """The inode by which /proc names the socket."""
    return os.fstat(sock.fileno()).st_ino
