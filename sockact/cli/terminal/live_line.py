"""One line on standard error that is written over and over, and erased at the end.

Only for a terminal: `on_terminal` tells.
"""

from __future__ import annotations

import os
import sys

from sockact.cli.terminal.output import printable

_ERASE = "\r\x1b[K"
_NARROWEST = 20


def on_terminal() -> bool:
    """Whether standard error is a terminal that can erase a line."""
    return os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb"


def show(text: str) -> None:
    """Write the line anew, cut to the width of the terminal; an empty one erases it."""
    try:
        width = max(os.get_terminal_size(2).columns, _NARROWEST) - 1
        text = printable(text)
        if len(text) > width:
            text = f"{text[: width - 1]}…"
        if sys.stderr:
            sys.stderr.write(f"{_ERASE}{text}")
            sys.stderr.flush()
    except (OSError, UnicodeError):
        pass  # Only a hint: what the command does is more important.
