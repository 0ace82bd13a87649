"""Where the files of a wrapped service are, and whether one of its steps was cut short."""

from __future__ import annotations

import os

from sockact.core.errors import OperatorError
from sockact.supervisor.control import paths
from sockact.units.manager import Manager
from sockact.units.wrap import places
from sockact.units.wrap.places import Place

SYSTEM_FOLDER = "/etc/systemd/system"


def place_of(service: str, *, user_unit: bool) -> Place:
    """Where the files of a service are, and are to be."""
    if not user_unit:
        folders = ("/run/systemd/system", paths.SYSTEM_BASE, "/var/lib/sockact")
        return Place(service, SYSTEM_FOLDER, *folders)
    run = Manager(user=True).runtime
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    own = (f"{run}/systemd/user", f"{run}/sockact", f"{home}/sockact")
    return Place(service, unit_folder(user_unit=True), *own)


def unit_folder(*, user_unit: bool) -> str:
    """Where the administrator's, or the user's, own units are."""
    if not user_unit:
        return SYSTEM_FOLDER
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(base, "systemd", "user")


def unfinished(name: str) -> str:
    """What to do about a wrap of that service, or the way back, that does not go on; or empty."""
    for user_unit in (False, True):
        try:
            found = places.unfinished(place_of(f"{name}.service", user_unit=user_unit))
        except OperatorError:
            continue  # Whoever may not read the files may not mend that either.
        if found:
            option = " --user-unit" if user_unit else ""
            return (
                f"a wrap, or the way back, is under way or was cut short: "
                f"`sockact unwrap{option} {name}` takes that back"
            )
    return ""
