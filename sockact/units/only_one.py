"""Programs of which only one may run at a time, by what a second one says. Pure.

They hold a pid file or a lock (varnish, squid, databases). A failed start of theirs beside the
running one says nothing about the release.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SAYS = re.compile(
    r"already running|already[ -](?:exists|in use|locked|held|started|active)|"
    r"another (?:instance|process|copy|server|daemon|one)\b.*(?:running|using|holds?|has|active)|"
    r"(?:can(?:no|')?t|could ?n[o']t|unable to|failed to|not)\b.*\b(?:lock|flock|lockf)\b|"
    r"(?:lock|pid) ?-?file\b.*(?:exist|held|locked|busy|stale|in use)|"
    r"(?:is locked|lock is held|locked by|owned by another|"
    r"BlockingIOError|Resource temporarily unavailable)",
    re.IGNORECASE,
)
# It is a matter of --listen, not of the program.
_ADDRESS = re.compile(r"address already in use|EADDRINUSE", re.IGNORECASE)
_LONGEST = 200


def find(lines: Sequence[str]) -> str:
    """The last line that says so; empty if there is none."""
    for line in reversed(lines):
        if _SAYS.search(line) and not _ADDRESS.search(line):
            return line.strip("| \t")[:_LONGEST]
    return ""
