"""Small JSON files in the state directory of a service, which outlive the supervisor.

The directory is the first of $SOCKACT_STATE_DIR/NAME; the first entry of $STATE_DIRECTORY
(StateDirectory= of systemd.exec(5)); /var/lib/sockact/NAME for root; $XDG_STATE_HOME/sockact/NAME,
by default ~/.local/state/sockact/NAME. The service runs without it: if it is not writable, its
content is lost when the supervisor exits.

The program may write to it (StateDirectory=), too. So nothing in it is trusted: a FIFO does not
block the supervisor, a link is not followed, and what is read is bounded.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

_LARGEST = 4 << 20
"""Bytes: a full ledger with every character escaped has 3 million."""
_SYSTEM_BASE = "/var/lib/sockact"


def state_dir(name: str, environ: Mapping[str, str], uid: int | None = None) -> str:
    """Return the directory of the service, which may not exist."""
    if chosen := environ.get("SOCKACT_STATE_DIR"):
        return os.path.join(os.path.abspath(chosen), name)
    if first := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return first
    if (os.geteuid() if uid is None else uid) == 0:
        return os.path.join(_SYSTEM_BASE, name)
    home = os.path.expanduser("~/.local/state")
    return os.path.join(environ.get("XDG_STATE_HOME") or home, "sockact", name)


def read_regular(path: str, most: int) -> bytes:
    """Return the first `most` bytes of a regular file. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        # If open() refuses (a directory), it leaves the descriptor open.
        with open(fd, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(fd)


def create(path: str, mode: int) -> BinaryIO:
    """Open a new file for writing, in place of whatever has this name. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    return open(fd, "wb")


class StateFile:
    """A JSON value in a file of its own, which is replaced atomically."""

    def __init__(self, directory: str, name: str) -> None:
        self.path = os.path.join(directory, name)

    def read(self) -> object:
        """Return the value; None if there is no file, or not one of sockact's."""
        try:
            found: object = json.loads(read_regular(self.path, _LARGEST).decode())
        except (OSError, ValueError, RecursionError):
            return None
        return found

    def write(self, value: object) -> None:
        """Replace the value. Raises OSError."""
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        following = f"{self.path}.new"
        try:
            with create(following, 0o666) as file:
                file.write(json.dumps(value).encode())
            os.replace(following, self.path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(following)
            raise
