"""Sections that the pages of several commands share, in reStructuredText."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extra:
    """The additions of one page to what `--help` says."""

    sections: str
    """Between OPTIONS and EXAMPLES."""
    more: str = ""
    """The end of DESCRIPTION."""
    examples: str = ""
    """After the examples of `--help`."""
    related: tuple[str, ...] = ()
    """Commands for SEE ALSO."""


STATUS = """
EXIT STATUS
===========

0
    Success.

1
    Failure. A message on standard error gives the reason and a remedy.

2
    Usage error; nothing was done.
"""

STATUS_3 = f"""{STATUS}
3
    The service is not running.
"""

STATUS_4 = f"""{STATUS_3}
4
    No outcome within --timeout. What was requested continues.
"""

DIRECTORIES = """
$SOCKACT_RUNTIME_DIR
    Directory that holds one subdirectory per service (default: see FILES).

$RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR
    Used if SOCKACT_RUNTIME_DIR is not set: the first entry of RUNTIME_DIRECTORY, which systemd sets
    for RuntimeDirectory= (systemd.exec(5)), or, for users other than root, the subdirectory sockact
    of XDG_RUNTIME_DIR.
"""

ENVIRONMENT = f"""
ENVIRONMENT
===========

$SOCKACT_NAME
    Default for NAME. Programs under sockact have it set to the name of their service.
{DIRECTORIES}"""

CONTROL = """
/run/sockact/NAME/control
    Control socket of the service NAME. It accepts root and the user of the service. For users other
    than root: $XDG_RUNTIME_DIR/sockact/NAME/control.
"""

STATE = """
/run/sockact/NAME/lock
    Lock file, held by the running supervisor; contains its process ID.

/var/lib/sockact/NAME/starts.json
    Recent failures, starts and reloads. For users other than root: below $XDG_STATE_HOME or
    ~/.local/state. In a unit: in its StateDirectory=.
"""

UNITS = """
/etc/systemd/system, ~/.config/systemd/user
    Directories that units are written to, without and with --user-unit.
"""

FILES = f"""
FILES
=====
{CONTROL}"""
