"""What a generation that failed wrote last: as its supervisor kept it, else from the journal.

The journal is optional here: where it cannot be read, this says how to, and where the service does
not write to it, nothing.
"""

from __future__ import annotations

import os
from typing import Any

from sockact.cli.journal import matches, service_units
from sockact.cli.journal.reader import CannotRead, Journal, why_not_readable
from sockact.cli.journal.selection import Source
from sockact.supervisor.control import client, paths
from sockact.systemd.journal import is_journal

_LINES = 10
# After the failure, until its last process has ended.
_GRACE_SECONDS = 10.0
_MOST_KEPT = 40
"""Lines that are shown of those that a supervisor kept."""
_ANSWER_SECONDS = 2.0


def of_reload(service: str, handover: dict[str, Any]) -> tuple[str, ...]:
    """Return the last lines of the successor in a handover that a supervisor has answered with.

    There are none if this command would only write the same lines into the same journal again.
    """
    if _is_in_our_journal(service):
        return ()
    kept = tuple(handover["stderr"])
    where = f"--generation {handover['to']}"
    return excerpt(kept, handover["reason"]) or _look(service, handover, where)


def excerpt(lines: tuple[str, ...], reason: str) -> tuple[str, ...]:
    """Return the last lines, and those before the line that the reason of the failure quotes."""
    if len(lines) <= _MOST_KEPT:
        return lines
    half = _MOST_KEPT // 2
    quoted = [n for n, line in enumerate(lines) if (text := line.strip(" .")) and text in reason]
    if not quoted or quoted[-1] >= len(lines) - half:
        return lines[-_MOST_KEPT:]
    end = quoted[-1] + 1
    rest = len(lines) - half - end
    gap = (f"({rest} lines left out)",) if rest else ()
    return (*lines[max(0, end - half) : end], *gap, *lines[-half:])


def of_history(service: str, handovers: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the last lines of the successor in the last handover, if that handover has failed."""
    if not handovers or handovers[-1]["outcome"] != "failed":
        return ()
    found = _look(service, handovers[-1], f"--handover {handovers[-1]['id']}")
    return tuple(f"  | {line}" for line in found)


def _is_in_our_journal(service: str) -> bool:
    """Whether this is the unit's ExecReload=, and the program's lines are in the unit's journal."""
    supervisor = os.environ.get("MAINPID", "")
    if not supervisor.isdecimal() or not is_journal(2, os.environ):
        return False
    if not service_units.writes_to_journal(int(supervisor)):
        return False
    try:
        with client.Client(paths.runtime_dir(service), _ANSWER_SECONDS) as connection:
            if connection.supervisor != int(supervisor):
                return False
            return not connection.call("Status", timeout=_ANSWER_SECONDS)["status"]["logs"]
    except (client.ControlError, paths.RuntimeDirError):
        return False


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
    return (f"(for its output, see `sockact logs {service} {where}`)",)
