"""Small JSON files in the state directory of a service, which outlive the supervisor.

The directory is the first of $SOCKACT_STATE_DIR/NAME; the first entry of $STATE_DIRECTORY
(StateDirectory= of systemd.exec(5)); /var/lib/sockact/NAME for root; $XDG_STATE_HOME/sockact/NAME,
by default ~/.local/state/sockact/NAME. The service runs without it: if it is not writable, its
content is lost when the supervisor exits.

The program may write to it (StateDirectory=), too. So nothing in it is trusted: a FIFO does not
block the supervisor, no link in it is followed, and what is read is bounded. On the way to it, root
follows no link of others.
"""

from __future__ import annotations

import os

from sockact.core import json_text
from sockact.trust import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

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


class StateFile:
    """A JSON value in a file of its own, which is replaced atomically."""

    def __init__(self, directory: str, name: str) -> None:
        self.path = os.path.join(directory, name)

    def read(self) -> object:
        """Return the value; None if there is no file, or not one of sockact's."""
        try:
            found: object = json_text.decode(files.read_own(self.path, _LARGEST).decode())
        except (OSError, ValueError, RecursionError):
            return None
        return found

    def write(self, value: object) -> None:
        """Replace the value. Raises OSError."""
        data = json_text.encode(value).encode()
        try:
            files.replace_own(self.path, data, 0o666)
        except FileNotFoundError:
            files.make_directory(os.path.dirname(self.path), 0o755)
            files.replace_own(self.path, data, 0o666)
