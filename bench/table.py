"""Plain text tables for terminals and logs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def render(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns; numbers are right-aligned."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(_cell(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (lines[0], rule, *lines[1:])
    )


def _cell(text: str, width: int) -> str:
    return text.rjust(width) if text[:1].isdigit() or text == "-" else text.ljust(width)


def milliseconds(seconds: float) -> str:
    """Format a time in ms, with one decimal."""
    return f"{seconds * 1000:.1f} ms"


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
