"""NAME.path and the unit that it starts; docs/watch.md says why --watch is better."""

from __future__ import annotations

from sockact.units.unitfile import escape_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def files(name: str, paths: Iterable[str], *, user_unit: bool) -> dict[str, str]:
    """File name → text. Raises OperatorError for a path that a unit file cannot contain."""
    watched = "\n".join(f"PathChanged={escape_value(path)}" for path in paths)
    manager = "systemctl --user" if user_unit else "systemctl"
    return {
        f"{name}.path": f"""\
[Unit]
Description=Files that reload {name} when they change
# Starts and stops with the service.
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
# With the default limit, the sixth change within 10 s would stop {name}.path.
StartLimitIntervalSec=0

[Service]
Type=oneshot
# Changes within this second are part of the same reload. Later changes are missed until the next
# change.
ExecStartPre=sleep 1
ExecStart={manager} reload {name}.service
""",
    }
