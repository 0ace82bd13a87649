"""What changes for the administrator of a service that is wrapped, one line each. Pure."""

from __future__ import annotations

import re
import signal

from sockact.units import unitfile
from sockact.units.wrap import refusals, takeover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.units.facts import Facts
    from sockact.units.wrap.takeover import Wrap


def changes(facts: Facts, wrap: Wrap) -> Iterator[str]:
    """In the order in which they matter."""
    files = facts.service.files.get("Service", {})
    name = facts.service.name.removesuffix(".service")
    systemctl = "systemctl --user" if wrap.user_unit else "systemctl"
    before = files.get("ExecReload", [])
    instead = f", instead of {before[-1]}" if before else ""
    yield f"`{systemctl} reload {name}` starts the program anew, and ends the old one{instead}"
    if not wrap.native:
        yield (
            f"`{systemctl} stop {name}` leaves the socket, which starts it again for the next "
            f"client; to stop both: `{systemctl} stop {' '.join(wrap.sockets)} {name}`"
        )
    yield f"`{systemctl} revert {name}` would take half of it back: `sockact unwrap` takes all"
    if stop := files.get("ExecStop"):
        how = ""
        if not (takeover.understands_stop(facts.service) or "--stop-signal" in wrap.options):
            name = signal.Signals(takeover.stop_signal(facts.service) or signal.SIGTERM).name
            how = f" by {name}; if it ends well by another signal only, add --stop-signal"
        yield f"ExecStop={stop[-1]} is not used: sockact drains, and ends the program{how}"
    yield from _start(facts, files.get("ExecStart", [""])[-1])
    for key in ("ExecStartPre", "ExecStartPost", "ExecCondition"):
        if key in files:
            yield f"{key}= runs at a start, and not at a reload"
    if any(
        "$MAINPID" in line
        for key in ("ExecStartPost", "ExecStopPost")
        for line in files.get(key, [])
    ):
        yield "$MAINPID is sockact's own process"
    yield from _settings(facts, wrap)


def _start(facts: Facts, line: str) -> Iterator[str]:
    signs = unitfile.prefixes(line)
    if "@" in signs:
        yield "the program gets its own path for a name: the @ of ExecStart= cannot be kept"
    if "-" in signs:
        yield "a start that fails counts as failed: the - of ExecStart= is not kept"
    if facts.service.get("Type").startswith("notify") and refusals.is_gunicorn(facts):
        yield "it is ready when a worker accepts; gunicorn's own READY=1 comes before that"


def _settings(facts: Facts, wrap: Wrap) -> Iterator[str]:
    service = facts.service
    if service.get("Restart") in ("no", "on-success"):
        yield f"Restart=on-failure, instead of {service.get('Restart')}"
    if takeover.gives_up_rights(facts, wrap):
        yield "NoNewPrivileges=yes: the program cannot run sudo (with --adopt shim it can)"
    for key in ("RuntimeDirectory", "StateDirectory"):
        if service.get(key):
            variable = re.sub("(?<=.)(?=D)", "_", key).upper()
            yield f"${variable} has a second entry, sockact/{wrap.name}"
    if service.get("PIDFile"):
        yield f"PIDFile={service.get('PIDFile')} is not read"
