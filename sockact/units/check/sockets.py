"""Rules about the .socket units, and about the addresses that the program binds."""

from __future__ import annotations

import os

from sockact.core.errors import OperatorError
from sockact.core.matching import Address, Kind
from sockact.systemd import listeners
from sockact.units import program_addresses, socket_files
from sockact.units.check.finding import ERROR, WARNING, Finding
from sockact.units.listening_sockets import find_free
from sockact.units.render import service_units
from sockact.units.unitfile import readable_span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.core.settings import Settings
    from sockact.units.facts import Facts, Unit

_SMALL_BACKLOG = 128


def findings(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    """All findings about the sockets."""
    known: list[Address] = []
    for socket in facts.sockets:
        yield from _options(socket)
        mine, others = socket.addresses()
        known += mine
        for text in others:
            message = "sockact does not support this kind of socket"
            write = "use TCP, UDP or a Unix stream socket"
            yield Finding(ERROR, socket.name, f"Listen {text}", message, write)
        yield from _state(facts, socket, mine)
        yield from _removed_at_stop(facts, socket, mine)
        yield from _removed_at_start(facts, mine)
    if not facts.sockets:
        yield from _none(facts, settings)
        known = _own(settings)
    else:
        yield from _required(facts)
    for problem in (
        program_addresses.mismatches(settings.command, known) if settings and known else ()
    ):
        message, _, write = problem.partition("; ")
        yield Finding(ERROR, facts.service.name, "ExecStart=", message, write)


def _own(settings: Settings | None) -> list[Address]:
    try:
        return [listeners.parse(text)[1] for text in (settings.listen if settings else ())]
    except OperatorError:
        return []  # `sockact run` reports it at its start.


def _none(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    unit = facts.service.name
    name = f"{unit.removesuffix('.service')}.socket"
    if settings and settings.listen:
        message = "without a .socket unit, clients are refused while the service restarts"
        yield Finding(WARNING, unit, "", message, f"write {name} (as `sockact init` does)")
    else:
        message = "it has no .socket unit, so there is no listener"
        yield Finding(ERROR, unit, "", message, f"write {name} (as `sockact init` does)")


def _required(facts: Facts) -> Iterator[Finding]:
    service = facts.service
    needed = {*service.words("Requires"), *service.words("BindsTo")}
    for socket in facts.sockets:
        if socket.name not in needed:
            level = WARNING if socket.name in service.words("Wants") else ERROR
            message = f"it can start without {socket.name} and then has no listener"
            write = f"set Requires={socket.name} and After={socket.name} in [Unit]"
            yield Finding(level, service.name, "", message, write)


def _options(socket: Unit) -> Iterator[Finding]:
    if socket.get("Accept") == "yes":
        message = "systemd accepts the connections itself and passes no listener"
        yield Finding(ERROR, socket.name, "Accept=yes", message, "set Accept=no")
    if socket.get("FlushPending") == "yes":
        message = "connections that are queued while the service restarts are dropped"
        yield Finding(ERROR, socket.name, "FlushPending=yes", message, "set FlushPending=no")
    backlog = socket.get("Backlog")
    if backlog.isdecimal() and int(backlog) < _SMALL_BACKLOG:
        message = "the queue may be full while the service restarts or reloads"
        now = f"Backlog={backlog}"
        yield Finding(WARNING, socket.name, now, message, "remove it, or set Backlog=4096")


def _reopen(facts: Facts, socket: Unit) -> str:
    """How the socket is opened anew, and what that costs."""
    service, systemctl = facts.service, facts.systemctl
    both = f"{socket.name} {service.name}"
    cost = "while the service stops"
    if (limit := service.span("TimeoutStopUSec")) < float("inf"):
        cost += f", up to {readable_span(limit)}"
    # systemd opens no socket of an active service, and `start` changes nothing on an open one.
    return f"`{systemctl} stop {both} && {systemctl} start {both}` (clients are refused {cost})"


def _state(facts: Facts, socket: Unit, mine: list[Address]) -> Iterator[Finding]:
    """Findings about sockets that are not open as the files say."""
    restart = _reopen(facts, socket)
    if socket.get("NeedDaemonReload") == "yes":
        message = "a file of the unit has changed on disk since systemd loaded it"
        write = f"run `{facts.systemctl} daemon-reload`, then {restart}"
        yield Finding(ERROR, socket.name, "", message, write)
        return
    if not socket.running:
        state = socket.get("ActiveState")
        if facts.service.running:
            message = (
                f"the socket unit is {state} although the service is running; "
                f"a restart would find no listener"
            )
            yield Finding(ERROR, socket.name, "", message, f"run {restart}")
        elif state == "failed":
            message = "it has failed, so clients are refused"
            write = f"fix the cause (see `systemctl status {socket.name}`), then run {restart}"
            yield Finding(ERROR, socket.name, "", message, write)
        elif socket.get("UnitFileState"):  # Otherwise the unit is about to be written.
            message = f"it is {state}, so clients are refused"
            write = f"run `systemctl start {socket.name}`"
            if socket.get("UnitFileState") == "disabled":
                write = f"run `systemctl enable --now {socket.name}`"
            yield Finding(WARNING, socket.name, "", message, write)
        return
    missing = [str(address) for address in find_free(mine)]
    started = socket.get("ActiveEnterTimestamp").removeprefix("@")
    if missing:
        message = (
            f"nobody listens on {', '.join(missing)}, as the unit has changed since it was started"
        )
        yield Finding(ERROR, socket.name, "", message, f"run {restart}")
    elif started.isdecimal() and socket.changed > int(started) + 1:
        message = "the unit has changed since it was started, and the change is not in effect"
        yield Finding(WARNING, socket.name, "", message, f"run {restart}")


def _removed_at_start(facts: Facts, addresses: list[Address]) -> Iterator[Finding]:
    paths = service_units.unix_paths(tuple(addresses))
    for key, lines in socket_files.removers(facts, paths).items():
        for line in lines:
            message = "it removes the socket file that systemd listens at: no client can connect"
            write = "remove it (systemd itself removes an old file before it listens)"
            yield Finding(ERROR, facts.service.name, f"{key}={line}", message, write)


def _removed_at_stop(facts: Facts, socket: Unit, mine: list[Address]) -> Iterator[Finding]:
    """Findings about socket files in a directory that is removed with the service."""
    paths = service_units.unix_paths(tuple(a for a in mine if a.kind is Kind.STREAM))
    for path in socket_files.removed_at_stop(facts, paths):
        message = (
            "systemd removes the socket file, with its RuntimeDirectory=, when the service stops"
        )
        write = f"set ListenStream={facts.runtime}/{os.path.basename(path)}"
        yield Finding(ERROR, socket.name, f"ListenStream={path}", message, write)
