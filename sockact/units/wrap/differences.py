"""What is different for the administrator of a wrapped service. Pure."""

from __future__ import annotations

import math
import re
import signal

from sockact.units import socket_files, unit_limits, unitfile
from sockact.units.wrap import drop_in, refusals, stop_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.units.facts import Facts
    from sockact.units.wrap.drop_in import Wrap


def describe(facts: Facts, wrap: Wrap) -> Iterator[str]:
    """The differences, one line each, the most important first."""
    files = facts.service.files.get("Service", {})
    name = facts.service.name.removesuffix(".service")
    systemctl = "systemctl --user" if wrap.user_unit else "systemctl"
    before = files.get("ExecReload", [])
    instead = f", instead of running {before[-1]}" if before else ""
    yield (
        f"`{systemctl} reload {name}` starts a new generation of the program and drains the "
        f"previous one{instead}"
    )
    if not wrap.native:
        yield (
            f"`{systemctl} stop {name}` leaves the socket open, and the next client starts the "
            f"service again; stop both with `{systemctl} stop {' '.join(wrap.sockets)} {name}`"
        )
    yield "undo with `sockact unwrap`, not `systemctl revert` (which would undo only half)"
    if stop := files.get("ExecStop"):
        how = ""
        if not (stop_signal.is_in_exec_stop(facts.service) or "--stop-signal" in wrap.options):
            usual = signal.Signals(stop_signal.find(facts.service) or signal.SIGTERM).name
            how = f" with {usual} (add --stop-signal if it needs another signal)"
        yield f"ExecStop={stop[-1]} is not used: sockact drains the program and stops it{how}"
    yield from _start(facts, files.get("ExecStart", [""])[-1])
    removers = socket_files.removers(facts, wrap.socket_paths)
    for key in ("ExecStartPre", "ExecStartPost", "ExecCondition"):
        if {*files.get(key, [])} - {*removers.get(key, [])}:
            yield f"{key}= runs at a start, but not on a reload"
    for key, lines in removers.items():
        for line in lines if key != "ExecStop" else ():
            yield f"{key}={line} is left out: it would remove the socket file of the .socket unit"
    for line in files.get("EnvironmentFile", []):
        yield f"EnvironmentFile={line} is read at a start, but not on a reload"
    limits = [f"{key}={files[key][-1]}" for key in unit_limits.KEYS if files.get(key)]
    if limits:
        yield (
            f"{', '.join(limits)}: on a reload, two generations run side by side, and both have to "
            f"fit in"
        )
    if any(
        "$MAINPID" in line
        for key in ("ExecStartPost", "ExecStopPost")
        for line in files.get(key, [])
    ):
        yield "$MAINPID is sockact's process, not the program's"
    yield from _settings(facts, wrap)


def wait(facts: Facts, *, refused: bool) -> str:
    """What clients notice of the restart. `refused`: nobody listens at a socket file meanwhile."""
    limit = facts.service.span("TimeoutStopUSec")
    most = f" (up to {unitfile.readable_span(limit)})" if math.isfinite(limit) else ""
    clients = "new clients are refused" if refused else "new clients wait"
    return (
        f"at the restart, {clients} while the running program stops according to its own "
        f"settings{most}, and then wait until the next one has started"
    )


def _start(facts: Facts, line: str) -> Iterator[str]:
    signs = unitfile.prefixes(line)
    if "@" in signs:
        yield "the program's argv[0] is its path: the @ of ExecStart= is not kept"
    if "-" in signs:
        yield "a failed start counts as a failure: the - of ExecStart= is not kept"
    if facts.service.get("Type").startswith("notify") and refusals.is_gunicorn(facts):
        yield "the service is ready when a worker accepts, not at gunicorn's own, earlier READY=1"


def _settings(facts: Facts, wrap: Wrap) -> Iterator[str]:
    service = facts.service
    if service.get("Restart") in ("no", "on-success"):
        yield f"Restart=on-failure, instead of {service.get('Restart')}"
    if drop_in.drops_privileges(facts, wrap):
        yield "NoNewPrivileges=yes: the program cannot run sudo (with --adopt shim it can)"
    if added := drop_in.added_capabilities(facts, wrap):
        yield (
            f"CapabilityBoundingSet= also has {' '.join(added)}, for the program, too: sockact has "
            f"to look into processes that have become another user, and to stop them"
        )
    for key in ("RuntimeDirectory", "StateDirectory"):
        if service.get(key):
            variable = re.sub("(?<=.)(?=D)", "_", key).upper()
            yield f"${variable} has a second entry, sockact/{wrap.name}"
    if service.get("KillMode") in ("process", "none"):
        yield (
            f"KillMode=mixed, instead of {service.get('KillMode')}: processes that the program "
            f"leaves behind are stopped with the service"
        )
    for socket in facts.sockets:
        if not socket.running:
            yield (
                f"{socket.name} is {socket.get('ActiveState')}: it is started with the service, "
                f"and the program has to take its listeners (LISTEN_FDS)"
            )
    if service.get("PIDFile"):
        yield f"PIDFile={service.get('PIDFile')} is ignored"
