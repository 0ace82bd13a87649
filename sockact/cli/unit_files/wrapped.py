"""Where the files of a wrapped service are, and whether a wrap of it is incomplete."""

from __future__ import annotations

import os

from sockact.core.errors import OperatorError
from sockact.supervisor.control import paths
from sockact.units.manager import Manager
from sockact.units.wrap.service_files import UNFINISHED, ServiceFiles

SYSTEM_DIRECTORY = "/etc/systemd/system"


def files_of(service: str, *, user_unit: bool) -> ServiceFiles:
    """The files of NAME.service, there or not."""
    if not user_unit:
        own = ("/run/systemd/system", paths.SYSTEM_BASE, "/var/lib/sockact")
        return ServiceFiles(service, SYSTEM_DIRECTORY, *own)
    run = Manager(user=True).runtime
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    own = (f"{run}/systemd/user", f"{run}/sockact", f"{home}/sockact")
    return ServiceFiles(service, unit_directory(user_unit=True), *own)


def unit_directory(*, user_unit: bool) -> str:
    """The directory of the administrator's or the user's own units."""
    if not user_unit:
        return SYSTEM_DIRECTORY
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(base, "systemd", "user")


def unfinished(name: str) -> str:
    """What to do about an incomplete wrap or unwrap of the service; empty if there is none."""
    for user_unit in (False, True):
        try:
            found = files_of(f"{name}.service", user_unit=user_unit).unfinished()
        except OperatorError:
            continue  # A user who may not read the files cannot repair this, either.
        if found:
            option = " --user-unit" if user_unit else ""
            return f"{UNFINISHED}; undo it with `sockact unwrap{option} {name}`"
    return ""
