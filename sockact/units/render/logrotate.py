"""How a log of `sockact run --log` is rotated: logrotate(8), docs/logs.md.

For the command line only.
"""

from __future__ import annotations

import re
import shlex

from sockact.core.errors import OperatorError

FOLDER = "/etc/logrotate.d"
_PATTERNS = re.compile(r'[*?\[\]{}"\\\x00-\x1f\x7f]')


def file_name(name: str) -> str:
    """Of the snippet of a service, in FOLDER."""
    return f"sockact-{name}"


def snippet(name: str, paths: tuple[str, ...], sockact: str, owner: tuple[str, str] | None) -> str:
    """`owner`: the user and the group that the directory of the logs belongs to, if not root.

    Raises OperatorError.
    """
    for path in paths:
        if found := _PATTERNS.search(path):
            raise OperatorError(
                f"--log {path!r}: {found[0]!r} means something to logrotate; choose another name"
            )
    own = [f"    su {' '.join(owner)}"] if owner else []
    lines = [
        "# Written by `sockact init`. `sockact rotate` returns when nothing is written to the old",
        "# file any more, so that can be compressed at once.",
        " ".join(f'"{path}"' for path in paths) + " {",
        *own,
        "    weekly",
        "    rotate 8",
        "    compress",
        "    missingok",
        "    notifempty",
        "    # sockact makes the new file, and its mode is 0640.",
        "    nocreate",
        "    sharedscripts",
        "    postrotate",
        "        # Unless nobody is there to write.",
        f'        test "$(systemctl show --value -p MainPID {name}.service)" = 0 ||',
        f"            {shlex.quote(sockact)} rotate {name}",
        "    endscript",
        "}",
    ]
    return "\n".join(lines) + "\n"
