"""The logrotate(8) snippet for logs of `sockact run --log`: docs/logs.md."""

from __future__ import annotations

import re
import shlex

from sockact.core.errors import OperatorError

DIRECTORY = "/etc/logrotate.d"
_PATTERNS = re.compile(r'[*?\[\]{}"\\\x00-\x1f\x7f]')


def file_name(name: str) -> str:
    """The name of a service's snippet in DIRECTORY."""
    return f"sockact-{name}"


def snippet(name: str, paths: tuple[str, ...], sockact: str, owner: tuple[str, str] | None) -> str:
    """The snippet of a service. `owner`: user and group of the log directory, if not root.

    Raises OperatorError.
    """
    for path in paths:
        if found := _PATTERNS.search(path):
            raise OperatorError(
                f"--log {path!r}: {found[0]!r} is special in logrotate; choose another name"
            )
    own = [f"    su {' '.join(owner)}"] if owner else []
    lines = [
        "# Written by `sockact init`. `sockact rotate` returns once no process writes to the old",
        "# file, so that file can be compressed immediately.",
        " ".join(f'"{path}"' for path in paths) + " {",
        *own,
        "    weekly",
        "    rotate 8",
        "    compress",
        "    missingok",
        "    notifempty",
        "    # sockact creates the new file with mode 0640.",
        "    nocreate",
        "    sharedscripts",
        "    postrotate",
        "        # Skipped when the service is not running.",
        f'        test "$(systemctl show --value -p MainPID {name}.service)" = 0 ||',
        f"            {shlex.quote(sockact)} rotate {name}",
        "    endscript",
        "}",
    ]
    return "\n".join(lines) + "\n"
