"""The names and paths of the files of one wrapped service."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from sockact.trust import files
from sockact.units import unitfile
from sockact.units.wrap import marked_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.units.unitfile import Settings

# systemd reads drop-ins in the order of their names, and later ones win: this one comes after
# override.conf, which `systemctl edit` writes.
DROP_IN = "zz-sockact.conf"
# In [Unit], where systemd ignores settings that begin with X-.
_STATE_KEY = "X-Sockact"
UNFINISHED_LINE = f"{_STATE_KEY}=unfinished"
"""The line of a drop-in that is only there while a wrap or an unwrap is under way."""

UNFINISHED = "`sockact wrap` or `sockact unwrap` is running or was interrupted"
"""What that means, for messages."""

_FAILURES = "starts.json"
# How many directories of socket files a service may have; more are left behind.
_MOST = 100
BESIDE = ".{}"
"""Below the trial's base, by the service's name: where the trial has directories of socket files.
No service of sockact has a name that begins with a dot."""


@dataclass(frozen=True)
class ServiceFiles:
    """The unit names of a service, and the directories of its files."""

    service: str
    """NAME.service."""
    units: str
    """The directory of the administrator's units."""
    runtime_units: str
    """The directory of units that last until the next boot."""
    runtime: str
    """The parent of the runtime directories of all services of sockact."""
    state: str
    """The parent of their state directories."""

    @property
    def name(self) -> str:
        """The service's name in sockact."""
        return self.service.removesuffix(".service")

    @property
    def socket(self) -> str:
        """NAME.socket."""
        return f"{self.name}.socket"

    @property
    def stand_in(self) -> str:
        """The empty service that owns NAME.socket while it is opened beside the program."""
        return f"sockact-wrap-{self.name.replace('@', '-')}.service"

    @property
    def trial(self) -> str:
        """The unit in which the program starts once under sockact before the old one stops."""
        return f"sockact-trial-{self.name.replace('@', '-')}.service"

    @property
    def trial_path(self) -> str:
        return os.path.join(self.runtime_units, self.trial)

    @property
    def socket_path(self) -> str:
        return os.path.join(self.units, self.socket)

    @property
    def drop_in_path(self) -> str:
        return os.path.join(self.units, f"{self.service}.d", DROP_IN)

    @property
    def stand_in_path(self) -> str:
        return os.path.join(self.runtime_units, self.stand_in)

    @property
    def socket_drop_in_path(self) -> str:
        """The drop-in of NAME.socket that names the stand-in."""
        return os.path.join(self.runtime_units, f"{self.socket}.d", DROP_IN)

    @property
    def trial_directory(self) -> str:
        """The directory of the trial's control socket and state."""
        return os.path.join(f"{self.runtime}-trial", self.name)

    @property
    def beside_trial(self) -> str:
        """The directory for the directories of socket files in the trial; root's."""
        return os.path.join(f"{self.runtime}-trial", BESIDE.format(self.name))

    def unfinished(self) -> bool:
        """Whether a wrap or an unwrap is under way or was interrupted. Raises OperatorError."""
        text = marked_files.read(self.drop_in_path)
        if text:
            return is_unfinished(unitfile.parse(text))
        return bool(marked_files.read(self.socket_path))

    def remove_stand_in(self) -> None:
        """Remove the stand-in and the drop-in that names it. Raises OperatorError."""
        marked_files.remove(self.socket_drop_in_path)
        marked_files.remove(self.stand_in_path)

    def remove_leftovers(self) -> None:
        """Remove the supervisor's own files and directories, which systemd no longer knows."""
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.state, self.name, _FAILURES))
        for base in (self.runtime, self.state):
            _remove_empty(os.path.join(base, self.name))
            _remove_empty(base)

    def remove_trial(self) -> None:
        """Remove the trial unit and its directory. Raises OperatorError."""
        marked_files.remove(self.trial_path)
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.trial_directory, _FAILURES))
        with contextlib.suppress(OSError):
            for name in files.names_in(self.beside_trial, _MOST):
                os.rmdir(os.path.join(self.beside_trial, name))
            os.rmdir(self.beside_trial)
        _remove_empty(self.trial_directory)
        _remove_empty(os.path.dirname(self.trial_directory))
        # systemd makes it for dynamic users.
        with contextlib.suppress(OSError):
            os.rmdir(os.path.join(os.path.dirname(self.runtime), "private"))


def _remove_empty(path: str) -> None:
    """Remove a directory if it is empty, and with it what systemd made of it for a dynamic user: a
    link to the directory of the same name below private/ (systemd.exec(5), DynamicUser=).
    """
    base, _, below = path.rpartition("/sockact")
    private = f"{base}/private/sockact{below}"
    with contextlib.suppress(OSError):
        os.rmdir(private)
    with contextlib.suppress(OSError):
        if os.path.islink(path) and not os.path.lexists(private):
            os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(path)


def is_unfinished(drop_in: dict[str, Settings]) -> bool:
    """Whether this is the drop-in of a wrap or an unwrap that is under way."""
    return _STATE_KEY in drop_in.get("Unit", {})
