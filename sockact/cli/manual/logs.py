"""What the page of `sockact logs` says beyond `--help`."""

from __future__ import annotations

from sockact.cli.manual.extra import ENVIRONMENT, STATUS_3, Extra

_MORE = """
The lines are those of the unit in which the service runs. If the service is not running, they are
those of NAME.service and sockact@NAME.service. Users other than root also get the units of their
own manager. Reading the system's journal takes root or the group systemd-journal, and the Python
package systemd (python3-systemd; for pip, sockact[journal]).

Each start of a service numbers its generations from 1. --generation shows the newest generation of
that number; with --follow, all of them.

The standard error of every generation but the first is passed on by the supervisor, and has its
pid. The identifier, NAME-3 for generation 3, tells which generation wrote a line.

Without --identifier the journal does not know which generation wrote a line. Then --generation
shows only the supervisor's lines, and --handover all lines from the time of the handover. A
program can write lines that look like its own supervisor's; other users cannot.

A message longer than 4096 characters is cut.
"""

_EXAMPLES = """
::

    sockact logs myapp --since 10min --follow
    sockact logs myapp --generation 3
    sockact logs myapp --handover 29a41e50c646a4f38d10afa40bf28fa4
"""

EXTRA = Extra(f"{STATUS_3}{ENVIRONMENT}", _MORE, _EXAMPLES, ("history", "status", "reload"))
