"""The files of a service that `sockact wrap` writes, and where they are."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass

from sockact.core.errors import OperatorError
from sockact.units import unitfile
from sockact.units.wrap import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.units.unitfile import Settings

# systemd reads drop-ins in the order of their names, and the last word counts: this comes after
# override.conf, which `systemctl edit` writes.
DROP_IN = "zz-sockact.conf"
# In [Unit], where systemd ignores what begins with X-.
_UNFINISHED = "X-Sockact"
UNFINISHED = f"{_UNFINISHED}=unfinished"
_FAILURES = "starts.json"


@dataclass(frozen=True)
class Place:
    """Where the files of a service are."""

    service: str
    """NAME.service."""
    folder: str
    """For the administrator's units."""
    passing: str
    """For units that last until the next boot."""
    runtime: str
    """Where the runtime folders of all services of sockact are."""
    state: str
    """Where what outlives their supervisors is."""

    @property
    def name(self) -> str:
        """By which sockact knows it."""
        return self.service.removesuffix(".service")

    @property
    def socket(self) -> str:
        """NAME.socket."""
        return f"{self.name}.socket"

    @property
    def socket_path(self) -> str:
        return os.path.join(self.folder, self.socket)

    @property
    def drop_in_path(self) -> str:
        return os.path.join(self.folder, f"{self.service}.d", DROP_IN)


def ours(path: str) -> str:
    """The text of a file that `sockact wrap` has written; empty when there is none, or another's.

    Raises OperatorError when it cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}; use sudo") from error
    return text if marks.is_ours(text) else ""


def unfinished(place: Place) -> bool:
    """Is a wrap, or the way back, under way, or was it cut short? Raises OperatorError."""
    text = ours(place.drop_in_path)
    return is_unfinished(unitfile.parse(text)) if text else bool(ours(place.socket_path))


def is_unfinished(drop_in: dict[str, Settings]) -> bool:
    """Is it the drop-in of a wrap that is under way?"""
    return _UNFINISHED in drop_in.get("Unit", {})


def write(path: str, text: str) -> None:
    """Replace a file in one step, and make its folder. Raises OperatorError."""
    following = f"{path}.new"
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(following, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(following, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(following)
        raise _cannot_write(path, error) from error


def check_writable(path: str) -> None:
    """Raises OperatorError, as `write` would."""
    if not os.access(os.path.dirname(path), os.W_OK):
        raise _cannot_write(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _cannot_write(path: str, error: OSError) -> OperatorError:
    hint = "use sudo, or --user-unit" if isinstance(error, PermissionError) else "mend that"
    return OperatorError(f"cannot write {path}: {error.strerror}; {hint}")


def remove(path: str) -> None:
    """Remove a file, and its folder when that is a drop-in folder with nothing else in it.

    Raises OperatorError.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        hint = "use sudo" if isinstance(error, PermissionError) else "mend that"
        raise OperatorError(f"cannot remove {path}: {error.strerror}; {hint}") from error
    if os.path.dirname(path).endswith(".d"):
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))


def clear(place: Place) -> None:
    """Remove what the supervisor has left in its folders, of which systemd no longer knows."""
    with contextlib.suppress(OSError):
        os.rmdir(os.path.join(place.runtime, place.name))
    state = os.path.join(place.state, place.name)
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(state, _FAILURES))
    with contextlib.suppress(OSError):
        os.rmdir(state)
