"""`sockact init --remove`: stops a service and removes the units that `sockact init` wrote."""

from __future__ import annotations

import contextlib
import os

from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import say
from sockact.cli.unit_files import wrapped
from sockact.core.errors import OperatorError
from sockact.units.manager import Manager
from sockact.units.render import logrotate
from sockact.units.wrap import marked_files

_SUFFIXES = (".path", "-reload.service", ".service", ".socket")
_OURS = ("run by sockact", "Sockets of ", "reload {0} when they change", "Reload of {0}")


def remove(name: str, *, user_unit: bool, dry_run: bool) -> None:
    """Raises Failure."""
    directory = wrapped.unit_directory(user_unit=user_unit)
    manager = Manager(user_unit)
    units = [unit for unit in _units(name) if os.path.isfile(os.path.join(directory, unit))]
    paths = [os.path.join(directory, unit) for unit in units]
    try:
        _check(name, units, directory, manager.name)
        snippet = os.path.join(logrotate.DIRECTORY, logrotate.file_name(name))
        paths += [snippet] if not user_unit and os.path.isfile(snippet) else []
        if dry_run:
            say("\n".join(f"would remove {path}" for path in paths))
            return
        manager.call("disable", "--now", *units)
        for path in paths:
            marked_files.remove(path)
        manager.call("daemon-reload")
    except OperatorError as error:
        raise Failure(str(error)) from error
    for path in paths:
        say(f"removed {path}")
    say(f"{name}: stopped and disabled; its units are removed{_left(units, directory)}")


def _units(name: str) -> list[str]:
    return [f"{name}{suffix}" for suffix in _SUFFIXES]


def _check(name: str, units: list[str], directory: str, systemctl: str) -> None:
    """Raises OperatorError if the units are not those of `sockact init`."""
    if f"{name}.service" not in units:
        where = os.path.join(directory, f"{name}.service")
        hint = ""
        if os.path.isdir(f"{where}.d"):
            hint = f"; if it was wrapped, run `sockact unwrap {name}`"
        raise OperatorError(f"there is no {where}{hint}")
    marks = [mark.format(name) for mark in _OURS]
    for unit in units:
        path = os.path.join(directory, unit)
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 20)
            if any(mark in text for mark in marks) and not marked_files.is_ours(text):
                continue
        raise OperatorError(
            f"{path} was not written by `sockact init`; to remove it, run `{systemctl} disable "
            f"--now {unit}` and delete it"
        )


def _left(units: list[str], directory: str) -> str:
    """What the administrator has added to the units."""
    own = [os.path.join(directory, f"{unit}.d") for unit in units]
    there = [path for path in own if os.path.isdir(path)]
    return f"; {' and '.join(there)} with your own settings is left" if there else ""
