"""What the pages of several commands say beyond `--help`, in the markup of markup.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extra:
    """Of one page."""

    sections: str
    more: str = ""
    """The end of its DESCRIPTION."""
    related: tuple[str, ...] = ()
    """The commands to look at next."""


STATUS = """
## EXIT STATUS

0
:   Done.

1
:   It failed; a line on standard error says why, and what to do.

2
:   It was asked in a wrong way, and nothing was done.
"""

STATUS_3 = f"""{STATUS}
3
:   The service does not run.
"""

FOLDERS = """
$SOCKACT_RUNTIME_DIR
:   The folder with one folder for each service, instead of those of FILES.

$RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR
:   Where that folder is otherwise: the first entry of the one, as RuntimeDirectory= of
    systemd.exec(5) sets it; sockact below the other, for other users than root.
"""

ENVIRONMENT = f"""
## ENVIRONMENT

$SOCKACT_NAME
:   The NAME when none is given. A wrapped program has its own name in it.
{FOLDERS}
"""

CONTROL = """
/run/sockact/NAME/control
:   The control socket of a service. It answers root and the service's own user. For other users
    than root: $XDG_RUNTIME_DIR/sockact/NAME/control.
"""

STARTS = """
/run/sockact/NAME/lock
:   Locked as long as the supervisor lives, with its pid.

/var/lib/sockact/NAME/starts.json
:   The last failures, starts and handovers. For other users than root: below $XDG_STATE_HOME, or
    ~/.local/state. In a unit: in its StateDirectory=.
"""

UNITS = """
/etc/systemd/system, ~/.config/systemd/user
:   Where the units are written, without and with --user-unit.
"""

FILES = f"""
## FILES
{CONTROL}
"""
