"""The units under which the journal has a service's lines."""

from __future__ import annotations

import os

from sockact.cli.journal.matches import Unit, possible_units
from sockact.supervisor.control import client, paths
from sockact.units.unit_facts import unit_of

_SECONDS = 2.0


def units(name: str) -> tuple[Unit, ...]:
    """The one that the service runs in; of a service that does not run here, those it may have."""
    pid = supervisor(name)
    unit, user = unit_of(pid) if pid else ("", False)
    if not unit:
        return possible_units(name, os.geteuid())
    return (Unit(unit, _owner(pid) if user else None),)


def supervisor(name: str) -> int:
    """The pid of a service's supervisor; 0 when it does not run, or we may not ask."""
    try:
        with client.Client(paths.runtime_dir(name), _SECONDS) as connection:
            return connection.supervisor
    except (client.ControlError, paths.RuntimeDirError):
        return 0


def writes_to_journal(pid: int) -> bool:
    """Whether the standard error of a process looks like the journal's; False when we may not
    look.
    """
    try:
        return bool(unit_of(pid)[0]) and os.readlink(f"/proc/{pid}/fd/2").startswith("socket:")
    except OSError:
        return False


def _owner(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return os.geteuid()  # It has just ended.
