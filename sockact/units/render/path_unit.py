"""NAME.path and the unit that it starts: docs/watch.md says why the supervisor's own is better.

For the command line only; the supervisor does not import this.
"""

from __future__ import annotations

from sockact.units.unitfile import escape_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def files(name: str, paths: Iterable[str], *, user_unit: bool) -> dict[str, str]:
    """File name → text. Raises ValueError for a path that a unit cannot name."""
    watched = "\n".join(f"PathChanged={escape_value(path)}" for path in paths)
    manager = "systemctl --user" if user_unit else "systemctl"
    return {
        f"{name}.path": f"""\
[Unit]
Description=What reloads {name} when it changes
# It begins and ends with the service.
PartOf={name}.service
After={name}.service

[Path]
{watched}
Unit={name}-reload.service

[Install]
WantedBy={name}.service
""",
        f"{name}-reload.service": f"""\
[Unit]
Description=Reload of {name}
# Or else the sixth change within 10 s would end {name}.path.
StartLimitIntervalSec=0

[Service]
Type=oneshot
# What changes in this time is part of the same reload. What changes after it is not seen before the
# next change.
ExecStartPre=sleep 1
ExecStart={manager} reload {name}.service
""",
    }
