"""The services whose units start `sockact run`."""

from __future__ import annotations

import re

from sockact.units import unitfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.units.manager import Manager

# As in the property ExecStart of `systemctl show`.
_RUN = re.compile(r"argv\[\]=(?:\S+ ){0,2}(?:\S*/)?sockact(?:/__main__\.py)? run ")
_AT_ONCE = 200
"""Names on one command line."""


def names(manager: Manager) -> list[str]:
    """Their names, loaded or not. Raises OperatorError."""
    found: set[str] = set()
    for command, *options in (("list-unit-files",), ("list-units", "--all")):
        lines = manager.call(
            command, *options, "--type=service", "--plain", "--no-legend"
        ).splitlines()
        found |= {line.split()[0] for line in lines if line.split()}
    # Templates are no services; their instances are loaded, if any is enabled or running.
    own = sorted(name for name in found if name.endswith(".service") and "@." not in name)
    running: set[str] = set()
    for start in range(0, len(own), _AT_ONCE):
        running |= _of_sockact(manager, own[start : start + _AT_ONCE])
    return sorted(running)


def _of_sockact(manager: Manager, some: Sequence[str]) -> set[str]:
    shown = manager.call("show", "--property=Id,ExecStart,LoadState", "--", *some)
    units = map(unitfile.properties, shown.split("\n\n"))
    return {
        unit["Id"]
        for unit in units
        if unit.get("LoadState") == "loaded" and _RUN.search(unit.get("ExecStart", ""))
    }
