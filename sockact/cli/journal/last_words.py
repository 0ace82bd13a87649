"""What a generation that failed wrote last, by the journal, where its supervisor kept nothing.

The journal is optional here: where it cannot be read, this says how to, and where the service does
not write to it, nothing.
"""

from __future__ import annotations

from typing import Any

from sockact.cli.journal import matches, service_units
from sockact.cli.journal.reader import CannotRead, Journal, why_not_readable
from sockact.cli.journal.selection import Source

_LINES = 10
# After the failure, until its last process has ended.
_GRACE_SECONDS = 10.0


def of_reload(service: str, handover: dict[str, Any]) -> tuple[str, ...]:
    """Of the successor of a handover that a supervisor has answered with."""
    return tuple(handover["stderr"]) or _look(service, handover, f"--generation {handover['to']}")


def of_history(service: str, handovers: list[dict[str, Any]]) -> tuple[str, ...]:
    """Of the successor of the last remembered handover, if that has failed."""
    if not handovers or handovers[-1]["outcome"] != "failed":
        return ()
    found = _look(service, handovers[-1], f"--handover {handovers[-1]['id']}")
    return tuple(f"  | {line}" for line in found)


def _look(service: str, handover: dict[str, Any], where: str) -> tuple[str, ...]:
    pid = service_units.supervisor(service)
    if not pid or not service_units.writes_to_journal(pid):
        return ()
    since = handover["requested_usec"] / 1_000_000
    until = since + handover["duration_seconds"] + _GRACE_SECONDS
    units = service_units.units(service)
    try:
        with Journal() as journal:
            source = Source(journal, matches.of_units(units), service)
            written = matches.by_program(service, handover["to"])
            found = source.newest((written,), count=_LINES, since=since, until=until)
            if found or not why_not_readable():
                return tuple(one.message for one in found)
    except CannotRead:
        pass
    return (f"(for what it wrote, see `sockact logs {service} {where}`)",)
